/**
 * The odds and ends of a PC's lower ports (ICH9 data sheet 316972, 13.7): reset control (0xCF9), system control port A
 * (0x92), the keyboard controller's reset pulse, the POST code port (0x80) and the DMA page registers, which only keep
 * what is written.
 *
 * Where no keyboard controller is (devices/i8042): its status port shows a full output buffer for ever, which lets drivers give up at
 * once, and an empty input buffer, so that reset code need not wait. Left out: gate A20 (always open; the bit of port
 * 0x92 is kept), NMI control.
 */
import type { IoBus, IoHandler } from "../bus/io.ts";
import { StateReader } from "../state/reader.ts";
import type { Device, DeviceContext, StateValue } from "./device.ts";

const RESET_CONTROL = { SYS_RST: 0x02, RST_CPU: 0x04, FULL_RST: 0x08, KEPT: 0x0a } as const;
const PORT_A = { INIT_NOW: 0x01, A20: 0x02 } as const;
const I8042 = { STATUS_ABSENT: 0xfd, DATA_ABSENT: 0xff, PULSE: 0xf0, PULSE_RESET: 0x01 } as const;
const DMA_PAGES = 15;

export class SystemControl implements Device {
  readonly name = "system-control";
  readonly schema = { id: "system-control", version: 1 } as const;
  readonly #context: DeviceContext;
  readonly #dmaPages = new Uint8Array(DMA_PAGES);
  #resetControl = 0;
  #portA = 0;
  #postCode = 0;

  constructor(context: DeviceContext) {
    this.#context = context;
    this.reset();
  }

  /** The last POST code, for diagnoses. */
  get postCode(): number {
    return this.#postCode;
  }

  /** Byte accesses to 0xCF8-0xCFB: the register is the second one. Hangs under the PCI address port. */
  readonly resetControl: IoHandler = {
    read: (offset, size) => (offset === 1 && size === 1 ? this.#resetControl : -1),
    write: (offset, size, value) => {
      if (offset !== 1 || size !== 1) return;
      this.#resetControl = value & RESET_CONTROL.KEPT;
      if (value & RESET_CONTROL.RST_CPU) this.#context.power("reset", "the guest wrote the reset control register");
    },
  };

  /** Port 0x92. */
  readonly portA: IoHandler = {
    read: () => this.#portA,
    write: (_offset, _size, value) => {
      this.#portA = value & PORT_A.A20;
      if (value & PORT_A.INIT_NOW) this.#context.power("reset", "the guest wrote system control port A");
    },
  };

  /** Port 0x60. */
  readonly i8042Data: IoHandler = { read: () => I8042.DATA_ABSENT, write: () => {} };

  /** Port 0x64. */
  readonly i8042Command: IoHandler = {
    read: () => I8042.STATUS_ABSENT,
    write: (_offset, _size, value) => {
      const isPulse = (value & I8042.PULSE) === I8042.PULSE;
      if (isPulse && (value & I8042.PULSE_RESET) === 0) {
        this.#context.power("reset", "the guest pulsed the keyboard controller's reset line");
      }
    },
  };

  /** The page of a DMA channel, at port 0x80 + `register`, of 1 to 15. */
  dmaPage(register: number): number {
    return this.#dmaPages[register - 1] ?? 0;
  }

  /** Port 0x80. */
  readonly post: IoHandler = {
    read: () => this.#postCode,
    write: (_offset, _size, value) => {
      this.#postCode = value & 0xff;
    },
  };

  /** Ports 0x81 to 0x8F. */
  readonly dmaPages: IoHandler = {
    read: (offset) => this.#dmaPages[offset] ?? 0xff,
    write: (offset, _size, value) => {
      this.#dmaPages[offset] = value;
    },
  };

  reset(): void {
    this.#resetControl = 0;
    this.#portA = PORT_A.A20;
    this.#postCode = 0;
    this.#dmaPages.fill(0);
  }

  save(): StateValue {
    return {
      resetControl: this.#resetControl,
      portA: this.#portA,
      postCode: this.#postCode,
      dmaPages: this.#dmaPages.slice(),
    };
  }

  restore(state: StateValue): void {
    this.reset();
    const reader = new StateReader(state, this.name);
    const resetControl = reader.int("resetControl", 0, RESET_CONTROL.KEPT);
    const portA = reader.int("portA", 0, PORT_A.A20);
    const postCode = reader.u8("postCode");
    const dmaPages = reader.bytesExact("dmaPages", DMA_PAGES);
    reader.end();
    this.#resetControl = resetControl & RESET_CONTROL.KEPT;
    this.#portA = portA & PORT_A.A20;
    this.#postCode = postCode;
    this.#dmaPages.set(dmaPages);
  }
}

export function createSystemControl(context: DeviceContext): SystemControl {
  return new SystemControl(context);
}

export interface SystemControlPorts {
  readonly systemControlA: number;
  readonly i8042Data: number;
  readonly i8042Command: number;
  readonly post: number;
  readonly dmaPages: number;
}

/**
 * Claims all but the reset control register, which the PCI address port leads to, and the ports of a keyboard controller
 * where there is one.
 */
export function attachSystemControl(
  control: SystemControl,
  ports: IoBus,
  base: SystemControlPorts,
  hasKeyboardController = false,
): void {
  ports.claim(base.systemControlA, 1, control.portA, { name: "system control port A" });
  if (!hasKeyboardController) {
    ports.claim(base.i8042Data, 1, control.i8042Data, { name: "i8042 data" });
    ports.claim(base.i8042Command, 1, control.i8042Command, { name: "i8042 command" });
  }
  ports.claim(base.post, 1, control.post, { name: "POST code" });
  ports.claim(base.dmaPages, DMA_PAGES, control.dmaPages, { maxSize: 1, name: "DMA pages" });
}
