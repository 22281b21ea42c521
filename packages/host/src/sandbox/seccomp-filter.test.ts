import { describe, expect, it } from "vitest";
import { runBpf } from "./bpf-interpreter.ts";
import {
  ANSWER,
  AUDIT_ARCH_X86_64,
  type FilterOptions,
  SECCOMP_DATA,
  seccompFilter,
  X32_BIT,
} from "./seccomp-filter.ts";
import { ALLOWED_CALLS, CALL } from "./system-calls.ts";

const PID = 4321;
const OPTIONS: FilterOptions = { processId: PID, hasKvm: false };

interface Call {
  readonly architecture?: number;
  readonly options?: Partial<FilterOptions>;
}

function ask(number: number, args: readonly (number | bigint)[] = [], { architecture, options }: Call = {}): string {
  const data = new DataView(new ArrayBuffer(SECCOMP_DATA.sizeBytes));
  data.setUint32(SECCOMP_DATA.number, number, true);
  data.setUint32(SECCOMP_DATA.architecture, architecture ?? AUDIT_ARCH_X86_64, true);
  args.forEach((value, index) => {
    data.setBigUint64(SECCOMP_DATA.arguments + 8 * index, BigInt.asUintN(64, BigInt(value)), true);
  });
  const answer = runBpf(seccompFilter({ ...OPTIONS, ...options }), data);
  return Object.entries(ANSWER).find(([, value]) => value === answer)?.[0] ?? answer.toString(16);
}

describe("seccompFilter", () => {
  it("allows what is on the list, and of everything else at most some", () => {
    const listed = new Set<number>(Object.values(ALLOWED_CALLS));
    const special = new Set<number>([
      CALL.ioctl,
      CALL.clone,
      CALL.clone3,
      CALL.tgkill,
      CALL.kill,
      CALL.prlimit64,
      CALL.prctl,
    ]);
    for (let number = 0; number < 600; number++) {
      if (!special.has(number))
        expect([number, ask(number)]).toEqual([number, listed.has(number) ? "allow" : "refuse"]);
    }
    expect(ask(0xffffffff)).toBe("refuse");
  });

  it("refuses what would leave the sandbox", () => {
    const refused = {
      execve: 59,
      execveat: 322,
      fork: 57,
      vfork: 58,
      ptrace: 101,
      process_vm_readv: 310,
      process_vm_writev: 311,
      pidfd_getfd: 438,
      mount: 165,
      umount2: 166,
      pivot_root: 155,
      chroot: 161,
      move_mount: 429,
      fsopen: 430,
      setns: 308,
      unshare: 272,
      bpf: 321,
      perf_event_open: 298,
      keyctl: 250,
      add_key: 248,
      request_key: 249,
      kexec_load: 246,
      kexec_file_load: 320,
      init_module: 175,
      finit_module: 313,
      userfaultfd: 323,
      io_uring_setup: 425,
      seccomp: 317,
      setuid: 105,
      setresuid: 117,
      capset: 126,
      chmod: 90,
      chown: 92,
      link: 86,
      symlink: 88,
      open_by_handle_at: 304,
      reboot: 169,
      iopl: 172,
      ioperm: 173,
      modify_ldt: 154,
      socket: 41,
      personality: 135,
      process_madvise: 440,
    };
    for (const [name, number] of Object.entries(refused)) expect([name, ask(number)]).toEqual([name, "refuse"]);
  });

  it("knows one architecture", () => {
    const i386 = 0x40000003;
    expect(ask(ALLOWED_CALLS.read, [], { architecture: i386 })).toBe("killProcess");
    expect(ask(ALLOWED_CALLS.read + X32_BIT)).toBe("refuse");
  });

  it("lets threads be made, and no processes or namespaces", () => {
    const thread = 0x003d0f00; // What glibc gives to clone for a thread.
    expect(ask(CALL.clone, [thread])).toBe("allow");
    expect(ask(CALL.clone, [17])).toBe("refuse");
    expect(ask(CALL.clone, [0x4111])).toBe("refuse"); // CLONE_VM | CLONE_VFORK | SIGCHLD
    for (const namespace of [0x20000, 0x2000000, 0x4000000, 0x8000000, 0x10000000, 0x20000000, 0x40000000]) {
      expect(ask(CALL.clone, [thread | namespace])).toBe("refuse");
    }
    expect(ask(CALL.clone3, [0x1000, 88])).toBe("unknown");
  });

  it("sends signals to its own process only", () => {
    expect(ask(CALL.kill, [PID, 9])).toBe("allow");
    expect(ask(CALL.tgkill, [PID, PID + 1, 9])).toBe("allow");
    for (const other of [1, 0, -1, PID + 1, -PID]) {
      expect(ask(CALL.kill, [other, 9])).toBe("refuse");
      expect(ask(CALL.tgkill, [other, other, 9])).toBe("refuse");
    }
    expect(ask(CALL.prlimit64, [0, 7])).toBe("allow");
    expect(ask(CALL.prlimit64, [PID + 1, 7])).toBe("refuse");
  });

  it("controls terminals without typing into them, and KVM where it is asked to", () => {
    const [TCGETS, TIOCSTI, KVM_RUN] = [0x5401, 0x5412, 0xae80];
    expect(ask(CALL.ioctl, [0, TCGETS])).toBe("allow");
    expect(ask(CALL.ioctl, [0, TIOCSTI])).toBe("refuse");
    expect(ask(CALL.ioctl, [0, BigInt(TIOCSTI) | (1n << 32n)])).toBe("refuse");
    expect(ask(CALL.ioctl, [9, KVM_RUN])).toBe("refuse");
    expect(ask(CALL.ioctl, [9, KVM_RUN], { options: { hasKvm: true } })).toBe("allow");
    expect(ask(CALL.ioctl, [0, TCGETS], { options: { hasKvm: true } })).toBe("allow");
    expect(ask(CALL.ioctl, [0, TIOCSTI], { options: { hasKvm: true } })).toBe("refuse");
  });

  it("makes the sockets that it is told, never raw ones", () => {
    const [UNIX, INET, INET6, NETLINK, PACKET, VSOCK] = [1, 2, 10, 16, 17, 40];
    const [STREAM, DGRAM, RAW, CLOEXEC] = [1, 2, 3, 0o2000000];
    const tcp: Call = { options: { sockets: ["tcp"] } };
    const both: Call = { options: { sockets: ["unix", "tcp"] } };
    expect(ask(CALL.socket, [INET, STREAM | CLOEXEC, 0], tcp)).toBe("allow");
    expect(ask(CALL.socket, [INET6, STREAM, 0], tcp)).toBe("allow");
    expect(ask(CALL.socket, [UNIX, STREAM, 0], tcp)).toBe("refuse");
    expect(ask(CALL.socket, [UNIX, STREAM, 0], both)).toBe("allow");
    expect(ask(CALL.connect, [], both)).toBe("allow");
    for (const family of [UNIX, INET, INET6, NETLINK, PACKET, VSOCK]) {
      for (const type of [STREAM, DGRAM, RAW]) {
        expect(ask(CALL.socket, [family, type])).toBe("refuse");
        if (type !== STREAM || family > INET6) expect(ask(CALL.socket, [family, type], both)).toBe("refuse");
      }
    }
  });

  it("sets names, and no attributes of the process", () => {
    expect(ask(CALL.prctl, [15])).toBe("allow");
    expect(ask(CALL.prctl, [0x53564d41])).toBe("allow");
    for (const option of [4, 8, 22, 24, 28, 35, 47, 0x59616d61]) expect(ask(CALL.prctl, [option])).toBe("refuse");
  });
});
