// Runs in the editor, beside a core:RandomNumber node. The server applies the mode, once per run; this script only
// rolls anew when asked to, and keeps what a run came to, so that the next one goes on from there.

const VALUES = 2 ** 32;

function roll() {
  const cryptography = globalThis.crypto;
  if (cryptography && cryptography.getRandomValues) {
    return cryptography.getRandomValues(new Uint32Array(1))[0];
  }
  return Math.floor(Math.random() * VALUES);
}

export function setupClientNode(editor, node, context) {
  return {
    // `name` is the slot of the button that was pressed.
    onButtonClick(name) {
      if (name === "reroll") {
        context.updateInputValue("value", roll());
      }
    },

    // `outputs` are those of the node's NODE_COMPLETE event.
    onNodeComplete(outputs) {
      if (outputs && Number.isInteger(outputs.number)) {
        context.updateInputValue("value", outputs.number);
      }
    },
  };
}
