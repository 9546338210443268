/** The clock of the gateway: events and deadlines have its time. That of whoever looks may be wrong by hours. */

let ahead = 0;

/**
 * The gateway has told what time it is.
 * @param {number} moment Milliseconds since 1970.
 */
export function setClock(moment) {
  ahead = moment - Date.now();
}

/** Now, in milliseconds since 1970. */
export function now() {
  return Date.now() + ahead;
}
