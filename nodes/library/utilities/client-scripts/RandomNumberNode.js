// Runs in the editor, beside a core:RandomNumber node. The server applies the mode, once per run; this script rolls anew
// when asked to, and lets the next run go on from the number of the last one.

const MAX_VALUE = 2 ** 32 - 1;
const STEPS = { "增加": 1, increment: 1, "减少": -1, decrement: -1 };

function roll() {
  const cryptography = globalThis.crypto;
  if (cryptography && cryptography.getRandomValues) {
    return cryptography.getRandomValues(new Uint32Array(1))[0];
  }
  return Math.floor(Math.random() * (MAX_VALUE + 1));
}

// The number that the server makes of a value.
function counted(value, step) {
  const near = Math.min(Math.max(Number(value), -1), MAX_VALUE + 1);
  return Math.min(Math.max(Math.floor(near) + step, 0), MAX_VALUE);
}

export function setupClientNode(editor, node, context) {
  // The value that the last run was given. If it still stands there, the next run goes on from it; another one was typed
  // or stored since, and is used as it is. After the page was loaded anew nobody knows, and a number may come again.
  let used;

  function read(slot, called) {
    const found = context.getNodeInputValue && context.getNodeInputValue(slot);
    if (found !== undefined) {
      return found;
    }
    const nodes = (called && called.workflowContext && called.workflowContext.nodes) || [];
    const shown = nodes.find((item) => item.id === called.nodeId) || node;
    const input = shown && shown.data && shown.data.inputs && shown.data.inputs[slot];
    return input && typeof input === "object" ? input.value : input;
  }

  return {
    // `name` is the slot of the button that was pressed.
    onButtonClick(name) {
      if (name === "reroll") {
        context.updateInputValue("value", roll());
      }
    },

    // Called before each run; what is set here is what the run gets.
    onWorkflowExecute(called) {
      const step = STEPS[read("mode", called)];
      let value = read("value", called) ?? 0;
      if (step && used !== undefined && Object.is(value, used)) {
        value = counted(value, step);
        if (Number.isNaN(value)) {
          return; // no number: the run itself says so
        }
        context.updateInputValue("value", value);
      }
      used = value;
    },

    // For editors that tell of results: `outputs` are those of the node's NODE_COMPLETE event.
    onNodeComplete(outputs) {
      if (outputs && Number.isInteger(outputs.number)) {
        context.updateInputValue("value", outputs.number);
      }
    },
  };
}
