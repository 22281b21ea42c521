/**
 * A font of 8 by 16 dots for VMs that start without a video BIOS, in the order of code page 437: ASCII, lines and blocks.
 * Letters are drawn on 5 by 8 dots and shown in double height. Left out: all other characters, which are empty boxes.
 */
const HEIGHT = 16;
const CHARACTERS = 256;

/** Five columns each from the blank to the tilde; the lowest bit is the top, the highest one lies below the baseline. */
const ASCII = `
0000000000 00005f0000 0007000700 147f147f14 242a7f2a12 2313086462 3649552250 0005030000 001c224100 0041221c00
14083e0814 08083e0808 00a0600000 0808080808 0060600000 2010080402 3e5149453e 00427f4000 4261514946 2141454b31
1814127f10 2745454539 3c4a494930 0171090503 3649494936 064949291e 0036360000 00b6760000 0814224100 1414141414
0041221408 0201510906 324979413e 7e1111117e 7f49494936 3e41414122 7f4141221c 7f49494941 7f09090901 3e4149497a
7f0808087f 00417f4100 2040413f01 7f08142241 7f40404040 7f020c027f 7f0408107f 3e4141413e 7f09090906 3e4151215e
7f09192946 4649494931 01017f0101 3f4040403f 1f2040201f 3f4038403f 6314081463 0708700807 6151494543 007f414100
0204081020 0041417f00 0402010204 8080808080 0001020400 2054545478 7f48444438 3844444420 384444487f 3854545418
087e090102 18a4a4a47c 7f08040478 00447d4000 4080847d00 7f10284400 00417f4000 7c04180478 7c08040478 3844444438
fc24242418 18242418fc 7c08040408 4854545420 043f444020 3c4040207c 1c2040201c 3c4030403c 4428102844 1ca0a0a07c
4464544c44 0008364100 00007f0000 0041360800 1008081008`
  .trim()
  .split(/\s+/);

/** From B3H on: how many lines go up, right, down and left. */
const LINES = `
1010 1011 1012 2021 0021 0012 2022 2020 0022 2002 2001 1002 0011 1100 1101 0111 1110 0101 1111 1210 2120 2200 0220 2202
0222 2220 0202 2222 1202 2101 0212 0121 2100 1200 0210 0120 2121 1212 1001 0110`
  .trim()
  .split(/\s+/);
const FIRST = { ascii: 0x20, shade: 0xb0, line: 0xb3, block: 0xdb } as const;
const BOX = { top: 2, bottom: 13, edge: 0x7e, side: 0x42 } as const;

/** The lines of all 256 characters, top first, the highest bit left. */
export function textFont(): Uint8Array {
  const font = new Uint8Array(CHARACTERS * HEIGHT);
  for (let code = 1; code < CHARACTERS; code++) font.set(boxLines(), code * HEIGHT);
  font.fill(0, 0xff * HEIGHT);
  for (const [i, glyph] of ASCII.entries()) font.set(letterLines(glyph), (FIRST.ascii + i) * HEIGHT);
  for (const [i, ends] of LINES.entries()) font.set(crossingLines(ends), (FIRST.line + i) * HEIGHT);
  const fill = (code: number, line: (y: number) => number): void =>
    font.set(
      Array.from({ length: HEIGHT }, (_, y) => line(y)),
      code * HEIGHT,
    );
  fill(FIRST.shade, (y) => (y % 2 === 0 ? 0x22 : 0x88));
  fill(FIRST.shade + 1, (y) => (y % 2 === 0 ? 0x55 : 0xaa));
  fill(FIRST.shade + 2, (y) => (y % 2 === 0 ? 0xdd : 0x77));
  fill(FIRST.block, () => 0xff);
  fill(FIRST.block + 1, (y) => (y >= HEIGHT / 2 ? 0xff : 0));
  fill(FIRST.block + 2, () => 0xf0);
  fill(FIRST.block + 3, () => 0x0f);
  fill(FIRST.block + 4, (y) => (y < HEIGHT / 2 ? 0xff : 0));
  return font;
}

function letterLines(glyph: string): number[] {
  const columns = (glyph.match(/../g) ?? []).map((digits) => Number.parseInt(digits, 16));
  return Array.from({ length: HEIGHT }, (_, y) =>
    columns.reduce((bits, column, x) => bits | (column & (1 << (y >> 1)) ? 0x40 >> x : 0), 0),
  );
}

function boxLines(): number[] {
  return Array.from({ length: HEIGHT }, (_, y) => {
    if (y < BOX.top || y > BOX.bottom) return 0;
    return y === BOX.top || y === BOX.bottom ? BOX.edge : BOX.side;
  });
}

/** Single lines meet in column 3 and line 7, double ones lie on both sides of that. */
function crossingLines(ends: string): number[] {
  const [up = 0, right = 0, down = 0, left = 0] = [...ends].map(Number);
  const columns = (count: number): number => (count === 2 ? 0x28 : count === 1 ? 0x10 : 0);
  const rows = (count: number): readonly number[] => (count === 2 ? [6, 8] : count === 1 ? [7] : []);
  return Array.from({ length: HEIGHT }, (_, y) => {
    let bits = 0;
    if (y <= 8) bits |= columns(up);
    if (y >= 6) bits |= columns(down);
    if (rows(left).includes(y)) bits |= 0xf0;
    if (rows(right).includes(y)) bits |= 0x1f;
    return bits;
  });
}
