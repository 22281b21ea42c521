/**
 * What the Linux under load works on (load/), and what has to come out of it: the same computed here. Programs by seed,
 * steps of a database by number; after the last step it begins anew.
 */
import { crc32 } from "node:zlib";

export const SEEDS = 16;
export const STEPS = 64;

const FUNCTIONS = 240;
const VALUES = 4000;
const ITERATIONS = 2000;
const ROWS = 60;
const KEPT_STEPS = 8;

/** For functions.h: constants are the function's number in some way. */
const rotation = (n: number): number => (n % 31) + 1;
const factor = (n: number): number => (Math.imul(n + 1, 0x9e3779b1) | 1) >>> 0;

export function functionsHeader(): string {
  const numbers = Array.from({ length: FUNCTIONS }, (_, n) => n);
  const definitions = numbers.map((n) => {
    const [left, right] = [rotation(n), 32 - rotation(n)];
    return `static uint32_t f${n}(uint32_t x) {
  x = (x << ${left} | x >> ${right}) * ${factor(n)}u;
  if (x % ${n + 2} == 0) x ^= ${n}u;
  else x += x / ${n + 3};
  return x;
}`;
  });
  const table = `static function *const functions[] = {${numbers.map((n) => `f${n}`).join(", ")}};`;
  return `${definitions.join("\n")}\n${table}\n`;
}

function throughFunctions(start: number): number {
  let x = start;
  for (let n = 0; n < FUNCTIONS; n++) {
    x = Math.imul((x << rotation(n)) | (x >>> (32 - rotation(n))), factor(n)) >>> 0;
    if (x % (n + 2) === 0) x = (x ^ n) >>> 0;
    else x = (x + Math.floor(x / (n + 3))) >>> 0;
  }
  return x;
}

/** The line that the program writes. */
export function programResult(seed: number): string {
  const values = new Uint32Array(VALUES);
  for (let i = 0, x = seed + 1; i < VALUES; i++) {
    x = (Math.imul(x, 1664525) + 1013904223) >>> 0;
    values[i] = x;
  }
  values.sort();
  let y = (seed + 1) / 64;
  for (let i = 0; i < ITERATIONS; i++) y = 3.75 * y * (1 - y);
  const bits = new BigUint64Array(Float64Array.of(y).buffer)[0]!;
  const hex = (value: number | bigint, digits: number): string => value.toString(16).padStart(digits, "0");
  return `${hex(crc32(new Uint8Array(values.buffer)), 8)} ${hex(throughFunctions(seed), 8)} ${hex(bits, 16)}\n`;
}

const firstId = (step: number): number => step * ROWS;
const first = (id: number): number => (id * 7919 + 17) % 10007;
const later = (value: number, id: number): number => (value * 31 + id) % 10007;

/** For sqlite3's standard input: rows come, change and go; then everything is looked at. */
export function databaseStep(step: number): string {
  const from = firstId(step);
  return `${step === 0 ? "create table t(id integer primary key, v integer, s text); create index byv on t(v);\n" : ""}begin;
with recursive n(id) as (select ${from} union all select id + 1 from n where id < ${from + ROWS - 1})
  insert into t select id, (id * 7919 + 17) % 10007, printf('%0*d', id % 50 + 1, id) from n;
update t set v = (v * 31 + id) % 10007 where id % 7 = ${step % 7};
delete from t where id < ${firstId(step - KEPT_STEPS + 1)};
commit;
pragma integrity_check;
select count(*), sum(v), sum(v * id), sum(length(s)), max(v) from t;
select count(*) from t where v < 5000;
`;
}

/** What sqlite3 writes for each step, its lines joined by spaces. */
export function databaseResults(): string[] {
  const rows = new Map<number, number>();
  return Array.from({ length: STEPS }, (_, step) => {
    for (let id = firstId(step); id < firstId(step + 1); id++) rows.set(id, first(id));
    for (const [id, value] of rows) {
      if (id % 7 === step % 7) rows.set(id, later(value, id));
      if (id < firstId(step - KEPT_STEPS + 1)) rows.delete(id);
    }
    const all = [...rows];
    const sum = (of: (id: number, value: number) => number): number => all.reduce((s, [id, v]) => s + of(id, v), 0);
    const lengths = sum((id) => Math.max((id % 50) + 1, `${id}`.length));
    const sums = [all.length, sum((_id, v) => v), sum((id, v) => id * v), lengths, Math.max(...rows.values())];
    return `ok ${sums.join("|")} ${all.filter(([, v]) => v < 5000).length}\n`;
  });
}
