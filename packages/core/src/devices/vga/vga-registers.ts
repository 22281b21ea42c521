/**
 * The registers of IBM's VGA behind ports 3B0H to 3DFH ("PS/2 Hardware Interface Technical Reference", video subsystem): sequencer,
 * graphics, CRT and attribute controllers, DAC, and the general registers. What they say is read by the memory
 * (planar-memory.ts) and by what draws the picture (screen-mode.ts).
 *
 * Left out: interrupts, the feature connector, the light pen.
 */
import type { Clock } from "../../machine/clock.ts";
import type { StateReader } from "../../state/reader.ts";
import type { StateValue } from "../device.ts";
import { status1, type Timing, timingOf } from "./crt-timing.ts";
import { Dac } from "./dac.ts";
import { IndexedRegisters } from "./indexed-registers.ts";
import {
  ATTR,
  ATTR_INDEX,
  CRTC,
  GFX,
  MISC,
  OVERFLOW_LINE_COMPARE,
  VGA_PORT as PORT,
  PROTECT,
  SEQ,
} from "./registers.ts";
import type { ScreenChanges } from "./screen-changes.ts";
import { planeAddress } from "./screen-mode.ts";

/** Input status 0: a colour monitor is there. */
const STATUS_0 = 0x10;

const SEQUENCER_MASKS = [0x03, 0x3d, 0x0f, 0x3f, 0x0e];
const GRAPHICS_MASKS = [0x0f, 0x0f, 0x0f, 0x1f, 0x03, 0x7b, 0x0f, 0x0f, 0xff];
const CRTC_MASKS: readonly number[] = Array.from({ length: CRTC.count }, () => 0xff);
const ATTRIBUTE_MASKS: readonly number[] = [...Array.from({ length: 16 }, () => 0x3f), 0xef, 0xff, 0x3f, 0x0f, 0x0f];

export class VgaRegisters {
  readonly sequencer: IndexedRegisters = new IndexedRegisters(SEQUENCER_MASKS, 0x07);
  readonly graphics: IndexedRegisters = new IndexedRegisters(GRAPHICS_MASKS, 0x0f);
  readonly crtc: IndexedRegisters = new IndexedRegisters(CRTC_MASKS, 0x3f);
  readonly attribute: IndexedRegisters = new IndexedRegisters(ATTRIBUTE_MASKS, 0xff);
  readonly dac: Dac = new Dac();
  /** The miscellaneous output register. */
  misc = 0;
  #feature = 0;
  /** The attribute controller's port takes an index next. */
  #isIndexNext = true;
  readonly #clock: Clock;
  readonly #changes: ScreenChanges;
  readonly #hasWideDac: () => boolean;
  #timing: Timing | undefined;

  constructor(clock: Clock, changes: ScreenChanges, hasWideDac: () => boolean) {
    this.#clock = clock;
    this.#changes = changes;
    this.#hasWideDac = hasWideDac;
  }

  get timing(): Timing {
    this.#timing ??= timingOf(this.crtc.values, this.sequencer.values[SEQ.CLOCKING]!, this.misc);
    return this.#timing;
  }

  reset(): void {
    for (const bank of [this.sequencer, this.graphics, this.crtc, this.attribute]) bank.reset();
    this.dac.reset();
    this.misc = 0;
    this.#feature = 0;
    this.#isIndexNext = true;
    this.changed();
  }

  save(): { readonly [key: string]: StateValue } {
    return {
      sequencer: this.sequencer.save(),
      graphics: this.graphics.save(),
      crtc: this.crtc.save(),
      attribute: this.attribute.save(),
      dac: this.dac.save(),
      misc: this.misc,
      feature: this.#feature,
      isIndexNext: this.#isIndexNext,
    };
  }

  /** Reads its fields; what is returned puts them there. Throws StateError. */
  parse(reader: StateReader): () => void {
    const parts = [
      this.sequencer.parse(reader.object("sequencer")),
      this.graphics.parse(reader.object("graphics")),
      this.crtc.parse(reader.object("crtc")),
      this.attribute.parse(reader.object("attribute")),
      this.dac.parse(reader.object("dac")),
    ];
    const misc = reader.u8("misc");
    const feature = reader.u8("feature");
    const isIndexNext = reader.bool("isIndexNext");
    return () => {
      for (const put of parts) put();
      this.misc = misc;
      this.#feature = feature;
      this.#isIndexNext = isIndexNext;
      this.changed();
    };
  }

  /** The picture may be another one altogether. */
  changed(): void {
    this.#timing = undefined;
    this.#changes.everything();
  }

  read(offset: number): number {
    const isColor = (this.misc & MISC.COLOR_IO) !== 0;
    switch (offset) {
      case PORT.attribute:
        return this.attribute.index;
      case PORT.attributeRead:
        return this.attribute.values[this.attribute.index & ATTR_INDEX.REGISTER] ?? 0;
      case PORT.misc:
        return STATUS_0;
      case PORT.videoEnable:
        return 1;
      case PORT.sequencer:
        return this.sequencer.index;
      case PORT.sequencer + 1:
        return this.sequencer.read();
      case PORT.pelMask:
        return this.dac.pelMask;
      case PORT.dacReadIndex:
        return this.dac.state;
      case PORT.dacWriteIndex:
        return this.dac.writeIndex;
      case PORT.dacData:
        return this.dac.read();
      case PORT.featureRead:
        return this.#feature;
      case PORT.miscRead:
        return this.misc;
      case PORT.graphics:
        return this.graphics.index;
      case PORT.graphics + 1:
        return this.graphics.read();
      case PORT.monoCrtc:
      case PORT.colorCrtc:
        return isColor === (offset === PORT.colorCrtc) ? this.crtc.index : 0xff;
      case PORT.monoCrtc + 1:
      case PORT.colorCrtc + 1:
        return isColor === (offset === PORT.colorCrtc + 1) ? this.crtc.read() : 0xff;
      case PORT.monoStatus:
      case PORT.colorStatus:
        if (isColor !== (offset === PORT.colorStatus)) return 0xff;
        this.#isIndexNext = true;
        return status1(this.timing, this.#clock.nowNs());
      default:
        return 0xff;
    }
  }

  write(offset: number, value: number): void {
    const isColor = (this.misc & MISC.COLOR_IO) !== 0;
    switch (offset) {
      case PORT.attribute:
        this.#writeAttribute(value);
        break;
      case PORT.misc:
        this.misc = value;
        this.changed();
        break;
      case PORT.sequencer:
        this.sequencer.select(value);
        break;
      case PORT.sequencer + 1:
        this.sequencer.write(value);
        if (this.sequencer.index !== SEQ.MAP_MASK && this.sequencer.index !== SEQ.MEMORY_MODE) this.changed();
        break;
      case PORT.pelMask:
        this.dac.pelMask = value;
        this.#changes.everything();
        break;
      case PORT.dacReadIndex:
        this.dac.selectRead(value);
        break;
      case PORT.dacWriteIndex:
        this.dac.selectWrite(value);
        break;
      case PORT.dacData:
        this.dac.write(value, this.#hasWideDac());
        this.#changes.everything();
        break;
      case PORT.graphics:
        this.graphics.select(value);
        break;
      case PORT.graphics + 1:
        this.graphics.write(value);
        if (this.graphics.index === GFX.MODE || this.graphics.index === GFX.MISC) this.changed();
        break;
      case PORT.monoCrtc:
      case PORT.colorCrtc:
        if (isColor === (offset === PORT.colorCrtc)) this.crtc.select(value);
        break;
      case PORT.monoCrtc + 1:
      case PORT.colorCrtc + 1:
        if (isColor === (offset === PORT.colorCrtc + 1)) this.#writeCrtc(value);
        break;
      case PORT.monoStatus:
      case PORT.colorStatus:
        if (isColor === (offset === PORT.colorStatus)) this.#feature = value;
        break;
      default: // Nothing is there, or it cannot be written.
    }
  }

  #writeAttribute(value: number): void {
    if (this.#isIndexNext) {
      const wasOn = this.attribute.index & ATTR_INDEX.ADDRESS_SOURCE;
      this.attribute.index = value & (ATTR_INDEX.REGISTER | ATTR_INDEX.ADDRESS_SOURCE);
      if (wasOn !== (value & ATTR_INDEX.ADDRESS_SOURCE)) this.#changes.everything();
    } else {
      const index = this.attribute.index & ATTR_INDEX.REGISTER;
      if (index < ATTR.count) {
        this.attribute.values[index] = value & ATTRIBUTE_MASKS[index]!;
        this.#changes.everything();
      }
    }
    this.#isIndexNext = !this.#isIndexNext;
  }

  #writeCrtc(value: number): void {
    const { index, values } = this.crtc;
    if (values[CRTC.RETRACE_END]! & PROTECT && index <= CRTC.OVERFLOW) {
      if (index === CRTC.OVERFLOW) this.crtc.write(value, ~OVERFLOW_LINE_COMPARE & 0xff);
    } else if (
      index >= CRTC.CURSOR_START &&
      index <= CRTC.CURSOR_LOW &&
      index !== CRTC.START_HIGH &&
      index !== CRTC.START_LOW
    ) {
      this.#touchCursor();
      this.crtc.write(value);
      this.#touchCursor();
      return;
    } else this.crtc.write(value);
    this.changed();
  }

  #touchCursor(): void {
    const { values } = this.crtc;
    this.#changes.memory(planeAddress(values, (values[CRTC.CURSOR_HIGH]! << 8) | values[CRTC.CURSOR_LOW]!, 0) * 4);
  }
}
