"""Where regex scripts deliberately do not do what was recorded, with the reason."""

DEVIATIONS = {
    ("regex_scripts", "group number beyond the groups: argument list quirk"): (
        "a number past the last group gives nothing, not the match's offset and the whole text"
    ),
}
OURS = {"group number beyond the groups: argument list quirk": "x[][][]"}
