/**
 * Decodes LZMA2 (the raw chunk stream inside .xz files; XZ file format 1.1.0, section 5.3.1, and the LZMA
 * specification that comes with the LZMA SDK). Input is hostile: every read is bounded by its chunk, every match
 * by what has been written, the window by the caller's limit. Left out: encoding, LZMA1 end markers.
 */

export class Lzma2Error extends Error {
  constructor(why: string) {
    super(`damaged LZMA2 data: ${why}`);
    this.name = "Lzma2Error";
  }
}

const STATES = 12;
const POSITION_STATES_MAX = 16;
const LENGTH_TO_POSITION_STATES = 4;
const ALIGN_BITS = 4;
const END_POSITION_MODEL_INDEX = 14;
const FULL_DISTANCES = 128;
const MATCH_MIN_LENGTH = 2;
const PROBABILITY_INITIAL = 1024;
const CHUNK_MAX_BYTES = 2 * 1024 * 1024;
const LC_PLUS_LP_MAX = 4;

// Where each group of probabilities begins in the one table.
const IS_MATCH = 0;
const IS_REP = IS_MATCH + STATES * POSITION_STATES_MAX;
const IS_REP0 = IS_REP + STATES;
const IS_REP1 = IS_REP0 + STATES;
const IS_REP2 = IS_REP1 + STATES;
const IS_REP0_LONG = IS_REP2 + STATES;
const POSITION_SLOT = IS_REP0_LONG + STATES * POSITION_STATES_MAX;
const POSITION_SPECIAL = POSITION_SLOT + LENGTH_TO_POSITION_STATES * 64;
const POSITION_ALIGN = POSITION_SPECIAL + FULL_DISTANCES;
const MATCH_LENGTH = POSITION_ALIGN + (1 << ALIGN_BITS);
// A length coder: two choice bits, low and mid trees per position state, one high tree.
const LENGTH_LOW = 2;
const LENGTH_MID = LENGTH_LOW + POSITION_STATES_MAX * 8;
const LENGTH_HIGH = LENGTH_MID + POSITION_STATES_MAX * 8;
const LENGTH_SIZE = LENGTH_HIGH + 256;
const REP_LENGTH = MATCH_LENGTH + LENGTH_SIZE;
const LITERAL = REP_LENGTH + LENGTH_SIZE;
const PROBABILITIES = LITERAL + (0x300 << LC_PLUS_LP_MAX);

export class Lzma2Decoder {
  readonly #probabilities = new Uint16Array(PROBABILITIES);
  /** The dictionary and what is decoded next, in one piece; the older part is dropped when the end is reached. */
  readonly #window: Uint8Array;
  readonly #dictionaryBytes: number;
  #position = 0;
  /** Bytes in the window that a match may refer to. */
  #history = 0;
  /** Bytes since the last dictionary reset. Only its low bits matter. */
  #total = 0;
  #state = 0;
  #rep0 = 0;
  #rep1 = 0;
  #rep2 = 0;
  #rep3 = 0;
  #lc = 0;
  #lp = 0;
  #pb = 0;
  #needsDictionaryReset = true;
  #needsProperties = true;
  #needsStateReset = true;

  #input: Uint8Array = new Uint8Array(0);
  #inputPosition = 0;
  #inputEnd = 0;
  #range = 0;
  #code = 0;

  constructor(dictionaryBytes: number) {
    this.#dictionaryBytes = dictionaryBytes;
    this.#window = new Uint8Array(dictionaryBytes + 2 * CHUNK_MAX_BYTES);
  }

  /**
   * Yields the output in pieces, each valid until the next one is asked for, and returns the offset behind the
   * end-of-stream byte.
   */
  *decode(input: Uint8Array, offset: number): Generator<Uint8Array, number> {
    this.#input = input;
    const byte = (): number => {
      const value = input[offset++];
      if (value === undefined) throw new Lzma2Error("it ends too early");
      return value;
    };
    for (;;) {
      const control = byte();
      if (control === 0) return offset;
      this.#makeRoom();
      let start: number;
      if (control < 0x80) {
        if (control > 2) throw new Lzma2Error("unknown chunk type");
        if (control === 1) this.#resetDictionary();
        else if (this.#needsDictionaryReset) throw new Lzma2Error("no dictionary reset at the beginning");
        const sizeBytes = ((byte() << 8) | byte()) + 1;
        if (offset + sizeBytes > input.length) throw new Lzma2Error("it ends too early");
        start = this.#position;
        this.#window.set(input.subarray(offset, offset + sizeBytes), start);
        this.#advance(sizeBytes);
        offset += sizeBytes;
      } else {
        const outputBytes = (((control & 0x1f) << 16) | (byte() << 8) | byte()) + 1;
        const inputBytes = ((byte() << 8) | byte()) + 1;
        const reset = (control >> 5) & 3;
        if (reset === 3) this.#resetDictionary();
        else if (this.#needsDictionaryReset) throw new Lzma2Error("no dictionary reset at the beginning");
        if (reset >= 2) this.#setProperties(byte());
        else if (this.#needsProperties) throw new Lzma2Error("a chunk without properties");
        if (reset >= 1) this.#resetState();
        else if (this.#needsStateReset) throw new Lzma2Error("a chunk without a state reset");
        if (offset + inputBytes > input.length) throw new Lzma2Error("it ends too early");
        start = this.#position;
        this.#decodeChunk(offset, inputBytes, outputBytes);
        offset += inputBytes;
      }
      yield this.#window.subarray(start, this.#position);
    }
  }

  #makeRoom(): void {
    if (this.#position + CHUNK_MAX_BYTES <= this.#window.length) return;
    const kept = Math.min(this.#dictionaryBytes, this.#position);
    this.#window.copyWithin(0, this.#position - kept, this.#position);
    this.#position = kept;
    this.#history = Math.min(this.#history, kept);
  }

  #resetDictionary(): void {
    this.#position = 0;
    this.#history = 0;
    this.#total = 0;
    this.#needsDictionaryReset = false;
    this.#needsStateReset = true;
  }

  #setProperties(properties: number): void {
    if (properties >= 9 * 5 * 5) throw new Lzma2Error("bad properties");
    this.#lc = properties % 9;
    this.#lp = Math.trunc(properties / 9) % 5;
    this.#pb = Math.trunc(properties / 45);
    if (this.#lc + this.#lp > LC_PLUS_LP_MAX) throw new Lzma2Error("bad properties");
    this.#needsProperties = false;
    this.#needsStateReset = true;
  }

  #resetState(): void {
    this.#probabilities.fill(PROBABILITY_INITIAL);
    this.#state = 0;
    this.#rep0 = this.#rep1 = this.#rep2 = this.#rep3 = 0;
    this.#needsStateReset = false;
  }

  #advance(sizeBytes: number): void {
    this.#position += sizeBytes;
    this.#history += sizeBytes;
    this.#total = (this.#total + sizeBytes) & 0x3fff_ffff;
  }

  #decodeChunk(offset: number, inputBytes: number, outputBytes: number): void {
    this.#inputPosition = offset;
    this.#inputEnd = offset + inputBytes;
    if (this.#nextByte() !== 0) throw new Lzma2Error("bad range coder start");
    this.#range = 0xffff_ffff;
    this.#code = 0;
    for (let index = 0; index < 4; index++) this.#code = ((this.#code << 8) | this.#nextByte()) >>> 0;

    const window = this.#window;
    const begin = this.#position;
    const limit = begin + outputBytes;
    const oldest = begin - Math.min(this.#history, this.#dictionaryBytes);
    const totalAtZero = this.#total - begin;
    const positionMask = (1 << this.#pb) - 1;
    let position = begin;
    while (position < limit) {
      const total = totalAtZero + position;
      const positionState = total & positionMask;
      const state = this.#state;
      if (this.#bit(IS_MATCH + (state << 4) + positionState) === 0) {
        const previous = position > oldest ? window[position - 1]! : 0;
        const matchAt = position - this.#rep0 - 1;
        if (state >= 7 && matchAt < oldest) throw new Lzma2Error("a match before the beginning");
        window[position++] = this.#literal(total, previous, state >= 7 ? window[matchAt]! : undefined);
        this.#state = state < 4 ? 0 : state < 10 ? state - 3 : state - 6;
        continue;
      }
      const length = this.#match(state, positionState);
      let from = position - this.#rep0 - 1;
      if (from < oldest) throw new Lzma2Error("a match before the beginning");
      if (position + length > limit) throw new Lzma2Error("a match over the end of its chunk");
      for (const end = from + length; from < end; from++) window[position++] = window[from]!;
    }
    this.#advance(outputBytes);
    if (this.#inputPosition !== this.#inputEnd) throw new Lzma2Error("a chunk has more data than it needs");
  }

  /** Sets rep0 (distance less one) and the state, and returns the length. */
  #match(state: number, positionState: number): number {
    if (this.#bit(IS_REP + state) === 0) {
      this.#rep3 = this.#rep2;
      this.#rep2 = this.#rep1;
      this.#rep1 = this.#rep0;
      const length = this.#length(MATCH_LENGTH, positionState);
      this.#state = state < 7 ? 7 : 10;
      this.#rep0 = this.#distance(length);
      return length;
    }
    if (this.#bit(IS_REP0 + state) === 0) {
      if (this.#bit(IS_REP0_LONG + (state << 4) + positionState) === 0) {
        this.#state = state < 7 ? 9 : 11;
        return 1;
      }
    } else {
      let distance = this.#rep1;
      if (this.#bit(IS_REP1 + state) !== 0) {
        distance = this.#rep2;
        if (this.#bit(IS_REP2 + state) !== 0) {
          distance = this.#rep3;
          this.#rep3 = this.#rep2;
        }
        this.#rep2 = this.#rep1;
      }
      this.#rep1 = this.#rep0;
      this.#rep0 = distance;
    }
    this.#state = state < 7 ? 8 : 11;
    return this.#length(REP_LENGTH, positionState);
  }

  #literal(total: number, previous: number, matched: number | undefined): number {
    const context = ((total & ((1 << this.#lp) - 1)) << this.#lc) + (previous >> (8 - this.#lc));
    const base = LITERAL + 0x300 * context;
    let symbol = 1;
    if (matched !== undefined) {
      let match = matched;
      while (symbol < 0x100) {
        const matchBit = (match >> 7) & 1;
        match <<= 1;
        const bit = this.#bit(base + ((1 + matchBit) << 8) + symbol);
        symbol = (symbol << 1) | bit;
        if (bit !== matchBit) break;
      }
    }
    while (symbol < 0x100) symbol = (symbol << 1) | this.#bit(base + symbol);
    return symbol & 0xff;
  }

  #length(base: number, positionState: number): number {
    if (this.#bit(base) === 0) return MATCH_MIN_LENGTH + this.#tree(base + LENGTH_LOW + (positionState << 3), 3);
    if (this.#bit(base + 1) === 0) {
      return MATCH_MIN_LENGTH + 8 + this.#tree(base + LENGTH_MID + (positionState << 3), 3);
    }
    return MATCH_MIN_LENGTH + 16 + this.#tree(base + LENGTH_HIGH, 8);
  }

  #distance(length: number): number {
    const lengthState = Math.min(length - MATCH_MIN_LENGTH, LENGTH_TO_POSITION_STATES - 1);
    const slot = this.#tree(POSITION_SLOT + (lengthState << 6), 6);
    if (slot < 4) return slot;
    const directBits = (slot >> 1) - 1;
    const base = (2 | (slot & 1)) * 2 ** directBits;
    if (slot < END_POSITION_MODEL_INDEX) {
      return base + this.#reverseTree(POSITION_SPECIAL + base - slot, directBits);
    }
    const high = this.#direct(directBits - ALIGN_BITS);
    return base + high * (1 << ALIGN_BITS) + this.#reverseTree(POSITION_ALIGN, ALIGN_BITS);
  }

  #tree(base: number, bits: number): number {
    let symbol = 1;
    for (let index = 0; index < bits; index++) symbol = (symbol << 1) | this.#bit(base + symbol);
    return symbol - (1 << bits);
  }

  #reverseTree(base: number, bits: number): number {
    let node = 1;
    let symbol = 0;
    for (let index = 0; index < bits; index++) {
      const bit = this.#bit(base + node);
      node = (node << 1) | bit;
      symbol |= bit << index;
    }
    return symbol;
  }

  #direct(bits: number): number {
    let result = 0;
    for (let index = 0; index < bits; index++) {
      this.#range >>>= 1;
      let bit = 0;
      if (this.#code >= this.#range) {
        this.#code = (this.#code - this.#range) >>> 0;
        bit = 1;
      }
      this.#normalize();
      result = (result << 1) | bit;
    }
    return result;
  }

  #bit(index: number): number {
    const probabilities = this.#probabilities;
    const probability = probabilities[index]!;
    const bound = (this.#range >>> 11) * probability;
    let bit: number;
    if (this.#code < bound) {
      this.#range = bound;
      probabilities[index] = probability + ((2048 - probability) >> 5);
      bit = 0;
    } else {
      this.#range = this.#range - bound;
      this.#code = this.#code - bound;
      probabilities[index] = probability - (probability >> 5);
      bit = 1;
    }
    if (this.#range < 0x100_0000) this.#normalize();
    return bit;
  }

  #normalize(): void {
    if (this.#range >= 0x100_0000) return;
    this.#range = (this.#range << 8) >>> 0;
    this.#code = ((this.#code << 8) | this.#nextByte()) >>> 0;
  }

  #nextByte(): number {
    if (this.#inputPosition >= this.#inputEnd) throw new Lzma2Error("a chunk has less data than it needs");
    return this.#input[this.#inputPosition++]!;
  }
}
