/**
 * The text of a VGA in a text mode, for people, tests and scripts: one string for each row, without trailing blanks.
 * Characters are code page 437's; what is a control character there is shown as a blank.
 */
import { CRTC } from "./registers.ts";
import { isScreenOn, planeAddress, rasterLine, screenModeOf, type VgaView } from "./screen-mode.ts";

const UPPER =
  "ÇüéâäàåçêëèïîìÄÅÉæÆôöòûùÿÖÜ¢£¥₧ƒáíóúñÑªº¿⌐¬½¼¡«»░▒▓│┤╡╢╖╕╣║╗╝╜╛┐└┴┬├─┼╞╟╚╔╩╦╠═╬╧╨╤╥╙╘╒╓╫╪┘┌█▄▌▐▀αßΓπΣσµτΦΘΩδ∞φε∩≡±≥≤⌠⌡÷≈°∙·√ⁿ²■ ";
const CP437: readonly string[] = [
  ..." ".repeat(32),
  ...Array.from({ length: 95 }, (_, i) => String.fromCharCode(32 + i)),
  "⌂",
  ...UPPER,
];

/** Undefined in graphics modes, and while the screen is off. */
export function screenText(view: VgaView): string[] | undefined {
  const mode = screenModeOf(view);
  if (mode.kind !== "text" || !isScreenOn(view)) return undefined;
  const { raster } = mode;
  const preset = view.crtc[CRTC.PRESET_ROW_SCAN]! & 0x1f;
  const rowLines = raster.rowLines * (raster.isDoubled ? 2 : 1);
  const rows: string[] = [];
  for (let line = 0; line < raster.lines; line += rowLines) {
    const { counter } = rasterLine(raster, preset, line);
    let text = "";
    for (let column = 0; column < raster.columns; column++)
      text += CP437[view.memory[planeAddress(view.crtc, counter + column, 0) * 4]!]!;
    rows.push(text.trimEnd());
  }
  return rows;
}
