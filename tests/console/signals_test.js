// Signals without a document: who runs when, and what stops.
import { strict as assert } from "node:assert";
import { batch, computed, effect, onEnd, root, signal, untracked } from "../../gateway/console/lib/signals.js";

Deno.test("an effect runs at once and after each change of what it read", () => {
  const count = signal(1);
  /** @type {number[]} */
  const seen = [];
  effect(() => seen.push(count.value));
  count.value = 2;
  count.value = 2;
  assert.deepEqual(seen, [1, 2]);
});

Deno.test("an effect follows only what it read the last time", () => {
  const isShown = signal(true);
  const text = signal("a");
  let runs = 0;
  effect(() => {
    runs++;
    if (isShown.value) text.value;
  });
  isShown.value = false;
  text.value = "b";
  assert.equal(runs, 2);
});

Deno.test("a diamond is computed once and never half", () => {
  const base = signal(1);
  const left = computed(() => base.value * 2);
  const right = computed(() => base.value * 3);
  /** @type {number[]} */
  const sums = [];
  effect(() => sums.push(left.value + right.value));
  base.value = 2;
  assert.deepEqual(sums, [5, 10]);
});

Deno.test("an effect sleeps while the computed value that it reads stays the same", () => {
  const seq = signal(1);
  const isEven = computed(() => seq.value % 2 === 0);
  let runs = 0;
  effect(() => {
    isEven.value;
    runs++;
  });
  seq.value = 3;
  seq.value = 5;
  assert.equal(runs, 1);
  seq.value = 6;
  assert.equal(runs, 2);
});

Deno.test("a computed value is right when it is read between two changes of a batch", () => {
  const a = signal(1);
  const double = computed(() => a.value * 2);
  let runs = 0;
  effect(() => {
    double.value;
    runs++;
  });
  batch(() => {
    a.value = 2;
    assert.equal(double.value, 4);
    a.value = 3;
  });
  assert.equal(double.peek(), 6);
  assert.equal(runs, 2);
});

Deno.test("inner effects end when the outer one runs again, and do their last things", () => {
  const outer = signal(0);
  const inner = signal(0);
  /** @type {string[]} */
  const log = [];
  effect(() => {
    const round = outer.value;
    effect(() => log.push(`${round}:${inner.value}`));
    onEnd(() => log.push(`end ${round}`));
  });
  outer.value = 1;
  inner.value = 1;
  assert.deepEqual(log, ["0:0", "end 0", "1:0", "1:1"]);
});

Deno.test("a root ends all that it made, and nothing of it runs afterwards", () => {
  const value = signal(0);
  let runs = 0;
  const dispose = root((dispose) => {
    effect(() => {
      value.value;
      runs++;
    });
    return dispose;
  });
  dispose();
  value.value = 1;
  assert.equal(runs, 1);
});

Deno.test("untracked reading ties nothing", () => {
  const value = signal(0);
  let runs = 0;
  effect(() => {
    untracked(() => value.value);
    runs++;
  });
  value.value = 1;
  assert.equal(runs, 1);
  assert.equal(value.observers.size, 0);
});

Deno.test("an effect that fails does not keep later changes from the others", () => {
  const value = signal(0);
  let seen = -1;
  effect(() => {
    if (value.value === 1) throw new Error("a page has a defect");
  });
  effect(() => {
    seen = value.value;
  });
  assert.throws(() => (value.value = 1));
  value.value = 2;
  assert.equal(seen, 2);
});

Deno.test("a signal that lives longer keeps no computed value of what has ended", () => {
  const address = signal("a");
  const { shown, dispose } = root((dispose) => {
    const shown = computed(() => address.value.toUpperCase());
    return { shown, dispose };
  });
  assert.equal(shown.value, "A");
  assert.equal(address.observers.size, 1);
  dispose();
  assert.equal(address.observers.size, 0);
  // What was begun before may still ask.
  address.value = "b";
  assert.equal(shown.value, "B");
  assert.equal(address.observers.size, 0);
});
