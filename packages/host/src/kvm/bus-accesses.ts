/**
 * Exits that the board's bus answers: ports, and memory that is a device's. What was accessed stands in kvm_run, and what
 * is read goes back there (Linux, Documentation/virt/kvm/api.rst, 5). Functions without a state of their own, for they
 * run at each exit.
 */
import type { VcpuBus } from "@twinmetal/core";
import * as abi from "./abi.ts";

/** As kvm-vcpu.ts says: constants of this module. */
const { IO_DIRECTION_OUT, RUN } = abi;
/** Where guests leave it; for a counter only. */
const LOCAL_APIC_START = 0xfee0_0000;
const LOCAL_APIC_END = 0xfee0_1000;

/** GUEST-CONTROLLED: port, size and count, within the bounds that KVM keeps. */
export function answerPort(run: DataView, bus: VcpuBus): void {
  const isOut = run.getUint8(RUN.io_direction) === IO_DIRECTION_OUT;
  const size = run.getUint8(RUN.io_size);
  const port = run.getUint16(RUN.io_port, true);
  const count = run.getUint32(RUN.io_count, true);
  // Within the mapping: its upper half is 0.
  let at = run.getUint32(RUN.io_data_offset, true);
  for (let i = 0; i < count; i++, at += size) {
    if (size === 1) {
      if (isOut) bus.writePort(port, 1, run.getUint8(at));
      else run.setUint8(at, bus.readPort(port, 1));
    } else if (size === 2) {
      if (isOut) bus.writePort(port, 2, run.getUint16(at, true));
      else run.setUint16(at, bus.readPort(port, 2), true);
    } else if (isOut) bus.writePort(port, 4, run.getUint32(at, true));
    else run.setUint32(at, bus.readPort(port, 4), true);
  }
}

/** GUEST-CONTROLLED: the address. An access of another size than 1, 2 or 4 is made of those at natural addresses. */
export function answerMmio(run: DataView, bus: VcpuBus): void {
  const gpa = addressOf(run);
  const length = run.getUint32(RUN.mmio_len, true);
  const isWrite = run.getUint8(RUN.mmio_is_write) !== 0;
  for (let offset = 0; offset < length; ) {
    const left = length - offset;
    const beyond = (gpa + offset) % 4;
    const isWhole = length === 4 || length === 2;
    const size = isWhole ? length : left >= 4 && beyond === 0 ? 4 : left >= 2 && beyond % 2 === 0 ? 2 : 1;
    const at = RUN.mmio_data + offset;
    if (isWrite) {
      const value = size === 4 ? run.getUint32(at, true) : size === 2 ? run.getUint16(at, true) : run.getUint8(at);
      bus.writeMmio(gpa + offset, size, value);
    } else {
      const value = bus.readMmio(gpa + offset, size);
      if (size === 4) run.setUint32(at, value, true);
      else if (size === 2) run.setUint16(at, value, true);
      else run.setUint8(at, value);
    }
    offset += size;
  }
}

/** The exit is an access to the local APIC's page. */
export function isLocalApic(run: DataView): boolean {
  const gpa = addressOf(run);
  return gpa >= LOCAL_APIC_START && gpa < LOCAL_APIC_END;
}

function addressOf(run: DataView): number {
  return run.getUint32(RUN.mmio_phys_addr, true) + 2 ** 32 * run.getUint32(RUN.mmio_phys_addr + 4, true);
}
