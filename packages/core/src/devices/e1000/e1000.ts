/**
 * Intel's 82540EM gigabit Ethernet controller (PCI 8086:100e; PCI/PCI-X Family of Gigabit Ethernet Controllers Software
 * Developer's Manual) in front of a network channel (network-channel.ts): EEPROM, PHY, both descriptor rings, checksums, TCP
 * segmentation, receive filters, VLAN tags, statistics, interrupts with their throttle.
 *
 *   BAR 0 registers, 128 KiB   BAR 1 IOADDR and IODATA, by which a driver resets it   INTA#
 *   guest --TDT--> descriptors --transmit.ts--> frames --> channel --> filter --receive.ts--> descriptors --> RDH
 *
 * A frame waits outside while the receive ring is empty. Delays of single interrupts (RDTR, RADV, TIDV, TADV) are taken as
 * zero. Left out: the loopback modes, flow control on the wire, wake-up, management, packet split, PXE's flash.
 */
import type { AccessSize, IoHandler } from "../../bus/io.ts";
import { PciFunction } from "../../bus/pci/function.ts";
import type { Timer } from "../../machine/clock.ts";
import { StateReader } from "../../state/reader.ts";
import type { Device, DeviceContext, StateValue } from "../device.ts";
import { ETHERNET_HEADER_BYTES, MAC_BYTES, type NetworkChannel } from "../network-channel.ts";
import { romFor } from "../option-rom.ts";
import { eepromWords, Microwire } from "./eeprom.ts";
import { Phy } from "./phy.ts";
import { accepts, bufferBytes, ReceivedFrame } from "./receive.ts";
import {
  CTRL,
  EECD,
  EERD,
  ICR,
  ICR_MASK,
  MDIC,
  PLAIN,
  RAH_AV,
  RCTL,
  REG,
  RXCSUM,
  STAT,
  STATISTICS,
  STATUS,
  TCTL,
} from "./registers.ts";
import { Statistics } from "./statistics.ts";
import { CMD, DESCRIPTOR_BYTES, TransmitAssembler } from "./transmit.ts";

const REGISTER_BYTES = 0x2_0000;
const IO_BYTES = 64;
const TABLES = [
  [REG.MTA, 128],
  [REG.RA, 32],
  [REG.VFTA, 128],
] as const;
/** With tag, without check sequence. */
const MAX_FRAME_BYTES = 1518;
const MAX_LONG_FRAME_BYTES = 16_384 - 4;
const PHY_ADDRESS = 1;
const ITR_UNIT_NS = 256;
/** Of a ring, before the guest goes on: they may be of 64 KiB each. */
const MAX_DESCRIPTORS = 512;
const REST_AFTER_NS = 10_000;
const VLAN_TYPE = 0x8100;

export interface E1000Options {
  /** Of the device, and of its channel. */
  readonly name: string;
  /** MAC_BYTES. */
  readonly mac: Uint8Array;
  /** What firmware starts from it with. */
  readonly rom?: Uint8Array | undefined;
}

export class E1000 implements Device, IoHandler {
  readonly name: string;
  readonly schema = { id: "e1000-82540em", version: 1 } as const;
  readonly pci: PciFunction;
  readonly #context: DeviceContext;
  readonly #channel: NetworkChannel;
  readonly #words: Uint16Array;
  readonly #microwire: Microwire;
  readonly #phy = new Phy();
  readonly #statistics = new Statistics();
  readonly #assembler: TransmitAssembler;
  readonly #throttle: Timer;
  readonly #rest: Timer;
  readonly #plain = new Map<number, number>();
  readonly #tables = new Map<number, Uint32Array>(TABLES.map(([offset, words]) => [offset, new Uint32Array(words)]));
  #ioAddress = 0;
  #eecd = 0;
  #eerd = 0;
  #mdic: number = MDIC.R;
  #causes = 0;
  #isUp = true;
  #isAsserted = false;
  /** No interrupt before. */
  #quietUntilNs = 0;

  constructor(context: DeviceContext, { name, mac, rom }: E1000Options) {
    if (mac.length !== MAC_BYTES) throw new RangeError(`a network address of ${mac.length} bytes`);
    this.name = name;
    this.#context = context;
    this.#words = eepromWords(mac);
    this.#microwire = new Microwire(this.#words);
    this.#assembler = new TransmitAssembler(context.memory, (frame, wasCut) => this.#sendFrame(frame, wasCut));
    this.#throttle = context.clock.timer(() => this.#drive());
    this.#rest = context.clock.timer(() => this.#transmit());
    this.pci = new PciFunction({
      name,
      vendorId: 0x8086,
      deviceId: 0x100e,
      classCode: 0x02_00_00,
      revisionId: 3,
      subsystemVendorId: 0x8086,
      subsystemId: 0x001e,
      interruptPin: 1,
    });
    this.pci.addMemoryBar(0, REGISTER_BYTES, this);
    this.pci.addIoBar(1, IO_BYTES, this.ioWindow);
    if (rom) this.pci.addRom(romFor(rom, 0x8086, 0x100e));
    const card = this;
    this.#channel = context.openNetwork(name, {
      get isReady() {
        return !card.#isReceiving || card.#available > 0;
      },
      receive: (frame) => this.#receive(frame),
      linkChanged: (isUp) => this.#linkChanged(isUp),
    });
    this.reset();
  }

  /** BAR 1: a register's number, then its value. */
  readonly ioWindow: IoHandler = {
    read: (offset, size) => {
      if (offset === 0) return fit(this.#ioAddress, size);
      return offset === 4 ? this.read(this.#ioAddress % REGISTER_BYTES, size) : 0;
    },
    write: (offset, size, value) => {
      if (size !== 4) return;
      if (offset === 0) this.#ioAddress = value >>> 0;
      else if (offset === 4) this.write(this.#ioAddress % REGISTER_BYTES, 4, value);
    },
  };

  /** BAR 0. Registers are whole words; a part of one is read from the whole. */
  read(offset: number, size: AccessSize): number {
    const value = this.#read(offset & ~3);
    return fit(value >>> (8 * (offset & 3)), size);
  }

  write(offset: number, size: AccessSize, value: number): void {
    if (size === 4 && offset % 4 === 0) this.#write(offset, value >>> 0);
  }

  reset(): void {
    this.pci.reset();
    this.#ioAddress = 0;
    this.#phy.reset();
    this.#resetMac();
  }

  save(): StateValue {
    return {
      pci: this.pci.save(),
      plain: PLAIN.map(([offset]) => this.#plain.get(offset)!),
      tables: TABLES.map(([offset]) => [...this.#tables.get(offset)!]),
      ioAddress: this.#ioAddress,
      eecd: this.#eecd,
      eerd: this.#eerd,
      mdic: this.#mdic,
      microwire: this.#microwire.save(),
      phy: this.#phy.save(),
      statistics: this.#statistics.save(),
      transmit: this.#assembler.save(),
      causes: this.#causes,
      isUp: this.#isUp,
      isAsserted: this.#isAsserted,
      quietUntilNs: this.#quietUntilNs,
      restAtNs: this.#rest.deadlineNs ?? null,
    };
  }

  restore(state: StateValue): void {
    this.reset();
    try {
      this.#restore(new StateReader(state, this.name));
    } catch (error) {
      this.#isUp = true;
      this.reset();
      throw error;
    }
  }

  #restore(reader: StateReader): void {
    this.pci.restore(reader.part("pci"), `${reader.path}.pci`);
    for (const [i, value] of reader.ints("plain", PLAIN.length, 0, 0xffff_ffff).entries()) {
      const [offset, mask] = PLAIN[i]!;
      if ((value & ~mask) !== 0) throw reader.invalid("plain", "has bits that a register has not");
      this.#plain.set(offset, value);
    }
    const tables = reader.values("tables", TABLES.length);
    if (tables.length !== TABLES.length) throw reader.invalid("tables", "are not all there");
    for (const [i, [offset, words]] of TABLES.entries()) {
      const table = new StateReader({ words: tables[i]! }, `${reader.path}.tables`);
      this.#tables.get(offset)!.set(table.ints("words", words, 0, 0xffff_ffff));
    }
    this.#ioAddress = reader.u32("ioAddress");
    this.#eecd = reader.int("eecd", 0, 0xff);
    this.#eerd = reader.u32("eerd");
    this.#mdic = reader.u32("mdic");
    this.#microwire.restore(reader.object("microwire"));
    this.#phy.restore(reader, "phy");
    this.#statistics.restore(reader, "statistics");
    this.#assembler.restore(reader.object("transmit"));
    this.#causes = reader.int("causes", 0, ICR_MASK);
    this.#isUp = reader.bool("isUp");
    this.#isAsserted = reader.bool("isAsserted");
    this.#quietUntilNs = reader.ns("quietUntilNs");
    const restAtNs = reader.optionalNs("restAtNs");
    reader.end();
    if (restAtNs !== undefined) this.#rest.arm(restAtNs);
    if (this.#isAsserted && !this.#isWanted) throw reader.invalid("isAsserted", "has no cause");
    this.pci.intx.set(this.#isAsserted);
    if (this.#isWanted && !this.#isAsserted) this.#throttle.arm(this.#quietUntilNs);
  }

  /** CTRL.RST: all but the PCI configuration and the PHY. The address comes from the EEPROM. */
  #resetMac(): void {
    for (const [offset] of PLAIN) this.#plain.set(offset, 0);
    this.#plain.set(REG.CTRL, 0x0000_0241);
    this.#plain.set(REG.VET, VLAN_TYPE);
    this.#plain.set(0x1000, 0x0010_0030);
    for (const table of this.#tables.values()) table.fill(0);
    const addresses = this.#tables.get(REG.RA)!;
    addresses[0] = this.#words[0]! | (this.#words[1]! << 16);
    addresses[1] = (this.#words[2]! | RAH_AV) >>> 0;
    this.#eecd = 0;
    this.#eerd = 0;
    this.#mdic = MDIC.R;
    this.#microwire.reset();
    this.#statistics.reset();
    this.#assembler.reset();
    this.#causes = 0;
    this.#quietUntilNs = 0;
    this.#rest.disarm();
    this.#drive();
  }

  #read(offset: number): number {
    if (offset >= STATISTICS.first && offset < STATISTICS.first + 4 * STATISTICS.words) {
      return this.#statistics.read(offset);
    }
    switch (offset) {
      case REG.STATUS:
        return STATUS.FD | STATUS.SPEED_1000 | (this.#isUp ? STATUS.LU : 0);
      case REG.EECD: {
        const granted = this.#eecd & EECD.EE_REQ ? EECD.EE_GNT : 0;
        return (
          EECD.EE_PRES | granted | (this.#microwire.output ? EECD.DO : 0) | (this.#eecd & ~(EECD.DO | EECD.EE_GNT))
        );
      }
      case REG.EERD:
        return this.#eerd;
      case REG.MDIC:
        return this.#mdic;
      case REG.ICR: {
        const causes = this.#causes;
        this.#causes = 0;
        this.#drive();
        return causes;
      }
      case REG.ICS:
      case REG.IMC:
        return 0;
      default:
        return this.#plain.get(offset) ?? this.#table(offset)?.read() ?? 0;
    }
  }

  #write(offset: number, value: number): void {
    switch (offset) {
      case REG.CTRL:
        if (value & CTRL.PHY_RST) this.#phy.reset();
        if (value & CTRL.RST) this.#resetMac();
        else this.#setPlain(offset, value);
        break;
      case REG.EECD:
        this.#eecd = value & (EECD.SK | EECD.CS | EECD.DI | EECD.FWE | EECD.EE_REQ);
        this.#microwire.set((value & EECD.CS) !== 0, (value & EECD.SK) !== 0, (value & EECD.DI) !== 0);
        break;
      case REG.EERD: {
        const address = (value >> 8) & 0xff;
        const word = this.#words[address % this.#words.length]!;
        if (value & EERD.START) this.#eerd = ((word << 16) | (address << 8) | EERD.DONE) >>> 0;
        break;
      }
      case REG.MDIC:
        this.#accessPhy(value);
        break;
      case REG.ICR:
        this.#causes &= ~value;
        this.#drive();
        break;
      case REG.ICS:
        this.#raise(value & ICR_MASK);
        break;
      case REG.IMS:
        this.#setPlain(REG.IMS, this.#get(REG.IMS) | value);
        this.#drive();
        break;
      case REG.IMC:
        this.#setPlain(REG.IMS, this.#get(REG.IMS) & ~value);
        this.#drive();
        break;
      case REG.TDT:
      case REG.TCTL:
        this.#setPlain(offset, value);
        this.#transmit();
        break;
      default:
        if (this.#plain.has(offset)) this.#setPlain(offset, value);
        else this.#table(offset)?.write(value);
    }
  }

  #get(offset: number): number {
    return this.#plain.get(offset)!;
  }

  #setPlain(offset: number, value: number): void {
    this.#plain.set(offset, (value & MASKS.get(offset)!) >>> 0);
  }

  #table(offset: number): { read(): number; write(value: number): void } | undefined {
    for (const [start, words] of TABLES) {
      const index = (offset - start) / 4;
      if (index < 0 || index >= words) continue;
      const table = this.#tables.get(start)!;
      return {
        read: () => table[index]!,
        write: (value) => {
          table[index] = value;
        },
      };
    }
    return undefined;
  }

  #accessPhy(value: number): void {
    const operation = (value >>> 26) & 3;
    const register = (value >>> 16) & 31;
    const isMine = ((value >>> 21) & 31) === PHY_ADDRESS;
    if (!isMine || (operation !== MDIC.READ && operation !== MDIC.WRITE)) {
      this.#mdic = ((value & ~MDIC.R) | MDIC.R | MDIC.E) >>> 0;
    } else if (operation === MDIC.READ) {
      this.#mdic = ((value & 0x3fff_0000) | MDIC.R | this.#phy.read(register, this.#isUp)) >>> 0;
    } else {
      this.#phy.write(register, value & 0xffff);
      this.#mdic = ((value & 0x3fff_ffff) | MDIC.R) >>> 0;
    }
    if (value & MDIC.I) this.#raise(ICR.MDAC);
  }

  #linkChanged(isUp: boolean): void {
    if (this.#isUp === isUp) return;
    this.#isUp = isUp;
    this.#raise(ICR.LSC);
  }

  #raise(causes: number): void {
    this.#causes |= causes;
    this.#drive();
  }

  get #isWanted(): boolean {
    return (this.#causes & this.#get(REG.IMS)) !== 0;
  }

  /** The wire, not more often than ITR says. */
  #drive(): void {
    const { clock } = this.#context;
    if (!this.#isWanted) {
      this.#throttle.disarm();
      this.#isAsserted = false;
    } else if (!this.#isAsserted) {
      const nowNs = clock.nowNs();
      if (nowNs < this.#quietUntilNs) {
        this.#throttle.arm(this.#quietUntilNs);
        return;
      }
      this.#throttle.disarm();
      this.#isAsserted = true;
      this.#quietUntilNs = nowNs + ITR_UNIT_NS * this.#get(REG.ITR);
    }
    this.pci.intx.set(this.#isAsserted);
  }

  /** What the ring holds; of a long one the rest in a moment. */
  #transmit(): void {
    if ((this.#get(REG.TCTL) & TCTL.EN) === 0 || !this.pci.isBusMaster) return;
    const count = this.#get(REG.TDLEN) / DESCRIPTOR_BYTES;
    const ring = this.#get(REG.TDBAH) * 2 ** 32 + this.#get(REG.TDBAL);
    const tail = this.#get(REG.TDT);
    let head = this.#get(REG.TDH);
    if (head >= count || tail >= count || head === tail) return;
    const { memory } = this.#context;
    const descriptor = new DataView(new ArrayBuffer(DESCRIPTOR_BYTES));
    let causes = 0;
    for (let taken = 0; head !== tail; taken++) {
      if (taken === MAX_DESCRIPTORS) {
        this.#rest.arm(this.#context.clock.nowNs() + REST_AFTER_NS);
        break;
      }
      const address = ring + DESCRIPTOR_BYTES * head;
      if (!memory.read(address, new Uint8Array(descriptor.buffer))) break;
      if (this.#assembler.take(descriptor, this.#get(REG.VET)) & CMD.RS) {
        // DD, in the same byte of all three kinds.
        memory.write8(address + 12, descriptor.getUint8(12) | 1);
        causes |= ICR.TXDW;
      }
      head = head + 1 === count ? 0 : head + 1;
    }
    this.#setPlain(REG.TDH, head);
    this.#raise(causes | (head === tail ? ICR.TXQE : 0));
  }

  #sendFrame(frame: Uint8Array, wasCut: boolean): void {
    if (frame.length < ETHERNET_HEADER_BYTES || frame.length > MAX_LONG_FRAME_BYTES || !this.#isUp) return;
    const isShort = frame.length < 60 && (this.#get(REG.TCTL) & TCTL.PSP) !== 0;
    const sent = isShort ? new Uint8Array(60) : frame;
    if (isShort) sent.set(frame);
    this.#statistics.sent(sent);
    if (wasCut) this.#statistics.add(STAT.TSCTC);
    this.#channel.send(sent);
  }

  get #isReceiving(): boolean {
    return this.#isUp && (this.#get(REG.RCTL) & RCTL.EN) !== 0 && this.pci.isBusMaster;
  }

  /** Descriptors that the driver has made available. */
  get #available(): number {
    const count = this.#get(REG.RDLEN) / DESCRIPTOR_BYTES;
    const [head, tail] = [this.#get(REG.RDH), this.#get(REG.RDT)];
    if (head >= count || tail >= count) return 0;
    return tail >= head ? tail - head : tail - head + count;
  }

  #receive(frame: Uint8Array): void {
    const control = this.#get(REG.RCTL);
    if (!this.#isReceiving || frame.length < ETHERNET_HEADER_BYTES) return;
    if (frame.length > (control & RCTL.LPE ? MAX_LONG_FRAME_BYTES : MAX_FRAME_BYTES)) return;
    const etherType = this.#get(REG.VET);
    const [multicast, addresses, vlans] = TABLES.map(([offset]) => this.#tables.get(offset)!);
    const tables = { control, etherType, multicast: multicast!, addresses: addresses!, vlans: vlans! };
    if (!accepts(frame, tables)) return;
    const sums = this.#get(REG.RXCSUM);
    const received = new ReceivedFrame(frame, {
      control,
      strippedType: this.#get(REG.CTRL) & CTRL.VME ? etherType : undefined,
      checksIp: (sums & RXCSUM.IPOFLD) !== 0,
      checksSegment: (sums & RXCSUM.TUOFLD) !== 0,
    });
    const sizeBytes = bufferBytes(control);
    const needed = Math.ceil(received.bytes.length / sizeBytes);
    const count = this.#get(REG.RDLEN) / DESCRIPTOR_BYTES;
    if (needed > this.#available) {
      for (const offset of [STAT.RNBC, STAT.MPC]) this.#statistics.add(offset);
      this.#raise(ICR.RXO);
      return;
    }
    const ring = this.#get(REG.RDBAH) * 2 ** 32 + this.#get(REG.RDBAL);
    const head = this.#get(REG.RDH);
    const next = (index: number): number => (index + 1 === count ? 0 : index + 1);
    const isWritten = received.write(this.#context.memory, ring, head, next, sizeBytes);
    this.#setPlain(REG.RDH, (head + needed) % count);
    if (!isWritten) return;
    this.#statistics.received(frame);
    const isLow = this.#available <= count >> (1 + ((control >> 8) & 3));
    this.#raise(ICR.RXT0 | (isLow ? ICR.RXDMT0 : 0));
  }
}

const MASKS: ReadonlyMap<number, number> = new Map(PLAIN);

const fit = (value: number, size: AccessSize): number => (size === 4 ? value >>> 0 : value & (2 ** (8 * size) - 1));

export function createE1000(context: DeviceContext, options: E1000Options): E1000 {
  return new E1000(context, options);
}
