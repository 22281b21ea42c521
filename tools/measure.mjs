// Speed of the interpreter on small integer loops, and how long its dispatcher takes to be optimised.
//   npm run measure              a table;  --json for a script
// Each loop runs for ever in a machine without a board; retired instructions are divided by the time of `run`.
import { bareMachine } from "../packages/core/dist/interp/bare-machine.js";

const SECONDS_EACH = 1.5;
const SLICE = 1_000_000;

/** Machine code, position-independent, made with GNU as from the source named. */
const LOOPS = {
  // store bytes, then strike out multiples
  sieve:
    "48c7c700002000b9a0860100b001880748ffc7ffc975f7be0200000080be0000200000741789f00fafc63da0860100730bc680000020000001f0ebeeffc681fe3c01000076d6ebb8",
  // x odd ? 3x + 1 : x / 2, branches that depend on data
  collatz: "41b81b000000410fb7c041ffc083c80183f80174f1a80174068d444001ebf1d1e8ebed",
  // 64-bit shifts and xors
  xorshift: "48b8447abfcb8d4039014889c248c1ea0c4831d04889c248c1e2194831d04889c248c1ea1b4831d04801c3ebdd",
  // CRC-32 with a table of 1 KiB
  crc: "48c7c600002000b900000100b8ffffffff0fb61648ffc630c20fb6d2c1e80833049500003000ffc975e7ebd4",
  // recursive Fibonacci of 20: calls and returns
  fib: "bf14000000e802000000ebf483ff02730389f8c3535589fb8d7bffe8ecffffff89c58d7bfee8e2ffffff01e85d5bc3",
  // copy 64 KiB by 8 bytes
  copy: "48c7c60000200048c7c700004000b900200000488b064889074883c6084883c70883e90175edebd8",
};

const bytes = (hex) => hex.match(/../g).map((pair) => Number.parseInt(pair, 16));

function measure(hex) {
  const tier = (process.argv.find((a) => a.startsWith("--tier=")) ?? "--tier=interp").slice(7);
  const machine = bareMachine({}, { tier });
  machine.load(bytes(hex));
  const { vcpu } = machine;
  const rates = [];
  const start = performance.now();
  while (performance.now() - start < SECONDS_EACH * 1000) {
    const before = vcpu.retired;
    const from = performance.now();
    vcpu.run(SLICE);
    const now = performance.now();
    rates.push({ at: now - start, mips: (vcpu.retired - before) / (now - from) / 1000 });
  }
  const settled = rates
    .slice(Math.floor(rates.length / 2))
    .map((r) => r.mips)
    .sort((a, b) => a - b);
  const mips = settled[Math.floor(settled.length / 2)] ?? 0;
  // Optimised: the first slice at 80 % of the settled rate.
  const optimisedMs = rates.find((r) => r.mips > 0.8 * mips)?.at ?? Number.NaN;
  return { mips, optimisedMs };
}

const json = process.argv.includes("--json");
const results = {};
for (const [name, hex] of Object.entries(LOOPS)) {
  results[name] = measure(hex);
  if (!json) console.log(`${name.padEnd(10)} ${results[name].mips.toFixed(0).padStart(5)} million instructions/s`);
}
const all = Object.values(results).map((r) => r.mips);
const mean = Math.exp(all.reduce((sum, x) => sum + Math.log(x), 0) / all.length);
const optimisedMs = results.sieve.optimisedMs;
if (json) console.log(JSON.stringify({ loops: results, geometricMean: mean, optimisedMs }));
else {
  console.log(`geometric mean ${mean.toFixed(0)} million instructions/s (floor 60, aim 150)`);
  console.log(`dispatcher optimised after ${optimisedMs.toFixed(0)} ms of the first loop (limit 300)`);
}
