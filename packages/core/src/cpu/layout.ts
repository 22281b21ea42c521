/**
 * Where everything of a jit-engine machine lies in its WebAssembly memory: the vCPU's state block, the TLBs, the block
 * cache, guest RAM. Offsets of fields count from the vCPU's base; addresses of tables are absolute.
 *
 * The state block stays below 64 KiB, so that a micro-op names a register by a 16-bit offset.
 */
import type { Field } from "../ir/builder.ts";
import { MEMORY_MAP } from "../machine/board-map.ts";

const f = (
  offset: number,
  type: Field["type"],
  bits: number = type === "i32" ? 32 : type === "i64" ? 64 : 128,
): Field => ({ offset, type, bits });

export const CPU_BASE = 0x1000;

/** General registers, in encoding order: RAX RCX RDX RBX RSP RBP RSI RDI R8-R15. */
export const GPR = 0x000;
export const gpr = (index: number): Field => f(GPR + index * 8, "i64");
export const [RAX, RCX, RDX, RBX, RSP, RBP, RSI, RDI] = [0, 1, 2, 3, 4, 5, 6, 7].map(gpr) as [
  Field,
  Field,
  Field,
  Field,
  Field,
  Field,
  Field,
  Field,
];
export const R11: Field = gpr(11);

/** Always zero: the base, index or segment that an operand does not have. */
export const ZERO = 0x080;
/** RIP at the start of the running block: the base of RIP-relative operands and relative branches. */
export const BLOCK_RIP: Field = f(0x088, "i64");
export const RIP: Field = f(0x090, "i64");

/**
 * Arithmetic flags, kept lazily in two words (cpu/flags.ts): the sign-extended result, and an auxiliary word:
 * bit 31 CF, bit 30 CF xor OF, bit 3 AF, bits 8-15 xor-ed into the parity byte, bit 0 xor-ed into SF.
 */
export const FLAG_RESULT: Field = f(0x098, "i64");
export const FLAG_AUX: Field = f(0x0a0, "i32");
/**
 * While regions run, flags are what a region kept of them instead (jit/lazy-flags.ts): FLAG_KIND says what FLAG_X and
 * FLAG_Y are. 0: FLAG_RESULT and FLAG_AUX.
 */
export const FLAG_KIND: Field = f(0xb30, "i32");
export const FLAG_X: Field = f(0xb38, "i64");
export const FLAG_Y: Field = f(0xb40, "i64");
/** RFLAGS without the six arithmetic flags: bit 1 and TF IF DF IOPL NT RF VM AC VIF VIP ID. */
export const SYSTEM_FLAGS: Field = f(0x0a4, "i32");

/** Instructions left of the budget of `run`, those of the running block already taken off. */
export const REMAINING: Field = f(0x0b0, "i32");
/** Reasons to come out of a block, ATTENTION_*; zero while nothing is to do. */
export const ATTENTION: Field = f(0x0b4, "i32");
/** Retired instructions when REMAINING reaches 0. */
export const RETIRED_END: Field = f(0x0b8, "i64");
/** The TLB set in use: TLB_SUPERVISOR, TLB_USER or TLB_SUPERVISOR_AC, each plus TLB_SHIFT, or TLB_NONE. */
export const TLB_CURRENT: Field = f(0x0c0, "i32");
/** Where this vCPU's TLB lies, and what belongs to it (from TLB_SUPERVISOR up to ONES_PAGE), against the first one's. */
export const TLB_SHIFT: Field = f(0xbb0, "i32");
export const CPL: Field = f(0x0c4, "i32");
/** Decoding mode: MODE_* bits. */
export const MODE: Field = f(0x0c8, "i32");
/** Linear page of the code being run (not page-aligned = none) and the host address of that page. */
export const CODE_PAGE: Field = f(0x0d0, "i64");
export const CODE_HOST: Field = f(0x0d8, "i32");
/** The vector that is pending, its error code (-1 = none). */
export const EXC_VECTOR: Field = f(0x0dc, "i32");
export const EXC_ERROR: Field = f(0x0e0, "i32");
/** INTR is asserted by the interrupt controller; NMI is pending. */
export const INTR_PENDING: Field = f(0x0e4, "i32", 8);
export const NMI_PENDING: Field = f(0x0e5, "i32", 8);
export const NMI_MASKED: Field = f(0x0e6, "i32", 8);
/** 0 none, 1 STI shadow, 2 MOV SS shadow, during the instruction after. */
export const SHADOW: Field = f(0x0e7, "i32", 8);
/** 1 while an instruction runs that began with TF set. */
export const STEP_ARMED: Field = f(0x0e8, "i32", 8);
export const HALTED: Field = f(0x0e9, "i32", 8);
/** 1: an event delivery is under way; its faults combine into #DF. */
export const DELIVERING: Field = f(0x0ea, "i32", 8);
/** Result of `translate`: the host address or, if MMIO, the physical address. */
export const XLATE_HOST: Field = f(0x0ec, "i32");
export const XLATE_PHYS: Field = f(0x0f0, "i64");
/** What the last walk found: PAGE_* (cpu/tlb.ts). */
export const XLATE_FLAGS: Field = f(0x0f8, "i32");
/** What FPU and SSE instructions meet, from CR0 and CR4: bit 0 x87 #NM, bit 1 SSE #UD, bit 2 SSE #NM, bit 3 MMX #UD. */
export const FPU_BLOCKED: Field = f(0x33c, "i32");
/** Data and I/O breakpoints that the running instruction has hit: bits 0-3 as in DR6. */
export const WATCH_HITS: Field = f(0x348, "i32");
/** The micro-op that runs, where it matters: in function handlers and on slow paths. Its UOP_LEFT makes counts exact in callbacks. */
export const CURRENT_UOP: Field = f(0x344, "i32");
/**
 * Bit n: accesses through segment register n need its limit and type looked at (cpu/segment-limits.ts). 0 in 64-bit
 * mode, and for flat writable data. Bit n + SEGMENT_BASED: its base is not 0.
 */
export const SEGMENT_BASED = 16;
export const SEGMENT_CHECKS: Field = f(0x34c, "i32");
/** What is added to RIP for a linear address: CS.base, 0 in 64-bit mode. */
export const CODE_BASE: Field = f(0x350, "i64");
/** 1: CS ends within the page of code being run, so each instruction is compared with its limit. */
export const CODE_LIMITED: Field = f(0x358, "i32");
/** Features that routines ask for: FEATURE_*, set from cpu/features.ts. Constant while the machine exists. */
export const CPU_FEATURES: Field = f(0x35c, "i32");
export const FEATURE_PCID = 0x1;
export const FEATURE_INVPCID = 0x2;
export const FEATURE_SMEP = 0x4;
export const FEATURE_SMAP = 0x8;
export const FEATURE_UMIP = 0x10;
export const FEATURE_FSGSBASE = 0x20;
export const FEATURE_XSAVE = 0x40;
export const FEATURE_XGETBV1 = 0x80;
/** PAE paging's page-directory-pointer-table entries, as loaded from memory with CR3 (SDM vol. 3, 4.4.1). */
export const pdpte = (index: number): Field => f(0x360 + index * 8, "i64");
/** Exit reason of `run` that an instruction asked for (EXIT_*). */
export const EXIT_REASON: Field = f(0x340, "i32");
/** A branch ring's next slot. */
export const BRANCH_NEXT: Field = f(0x0fc, "i32");

/** Segment registers: ES CS SS DS FS GS LDTR TR, 32 bytes each. */
export const SEGMENTS = 0x100;
export const [ES, CS, SS, DS, FS, GS, LDTR, TR] = [0, 1, 2, 3, 4, 5, 6, 7] as const;
/** No segment: linear addresses of descriptor tables, task state and new stacks. */
export const NO_SEGMENT = 8;
/** Likewise, with #SS where an address is not canonical. */
export const NEW_STACK = 10;
export const segSelector = (s: number): Field => f(SEGMENTS + s * 32, "i32", 16);
/** Bits 40-55 of the descriptor; bit 16: unusable. */
export const segAttributes = (s: number): Field => f(SEGMENTS + s * 32 + 4, "i32");
export const segBase = (s: number): Field => f(SEGMENTS + s * 32 + 8, "i64");
export const segLimit = (s: number): Field => f(SEGMENTS + s * 32 + 16, "i32");

export const GDTR_BASE: Field = f(0x200, "i64");
export const GDTR_LIMIT: Field = f(0x208, "i32");
export const IDTR_BASE: Field = f(0x210, "i64");
export const IDTR_LIMIT: Field = f(0x218, "i32");
export const CR0: Field = f(0x220, "i64");
export const CR2: Field = f(0x228, "i64");
export const CR3: Field = f(0x230, "i64");
export const CR4: Field = f(0x238, "i64");
export const CR8: Field = f(0x240, "i64");
export const XCR0: Field = f(0x248, "i64");
/** DR0-DR3, DR6, DR7. */
export const dr = (index: number): Field => f(0x250 + index * 8, "i64");
export const DR6: Field = dr(4);
export const DR7: Field = dr(5);
/**
 * The breakpoints in force, as in DR0-DR3 and DR7: the guest's, or, while DEBUGGED is 1, those of a debugger outside it,
 * which end the run (EXIT_DEBUG) and raise nothing.
 */
export const DEBUGGED: Field = f(0xba8, "i32");
export const breakpoint = (index: number): Field => f(0xb80 + index * 8, "i64");
export const BREAKPOINT_CONTROL: Field = f(0xba0, "i64");

export const EFER: Field = f(0x2a0, "i64");
export const STAR: Field = f(0x2a8, "i64");
export const LSTAR: Field = f(0x2b0, "i64");
export const CSTAR: Field = f(0x2b8, "i64");
export const SFMASK: Field = f(0x2c0, "i64");
export const KERNEL_GS_BASE: Field = f(0x2c8, "i64");
export const SYSENTER_CS: Field = f(0x2d0, "i64");
export const SYSENTER_ESP: Field = f(0x2d8, "i64");
export const SYSENTER_EIP: Field = f(0x2e0, "i64");
export const PAT: Field = f(0x2e8, "i64");
export const TSC_AUX: Field = f(0x2f0, "i64");

/** 2^28 where micro-ops need it: times 8, the part of a RIP-relative displacement beyond 32 bits. */
export const QUARTER_GIB: Field = f(0x2f8, "i64");

/** Where RAM and its page tables lie (see MemoryMap): constant while the machine exists. */
export const RAM_HOST: Field = f(0x328, "i32");
/** All of RAM, and the part of it below the PCI hole; the rest is at 4 GiB for the guest and right behind in the memory. */
export const RAM_BYTES: Field = f(0x32c, "i32");
export const LOW_RAM_BYTES: Field = f(0x338, "i32");
export const PAGE_LISTS: Field = f(0x330, "i32");
export const PAGE_GRANULES: Field = f(0x334, "i32");
/** Read-only memory, right behind RAM in the memory; for the guest it ends at 4 GiB. 0 bytes: none. */
export const ROM_HOST: Field = f(0x380, "i32");
export const ROM_BYTES: Field = f(0x384, "i32");

/**
 * A byte for each RAM and ROM page: 1 while stores are tracked and none has come since the last look (engine/dirty-pages.ts).
 * Such a page has no write tag in the TLB. All 0 while nobody tracks.
 */
export const PAGE_UNWRITTEN: Field = f(0x388, "i32");

/** From 0xA0000 up: so many bytes are a VGA's and not RAM's; 0 without one. */
export const VGA_WINDOW_BYTES: Field = f(0x38c, "i32");

/** A store that did not hit the TLB, between its probe and its commit: two parts (a page crossing) of RAM or MMIO. */
export const PENDING_HOST: readonly [Field, Field] = [f(0x300, "i32"), f(0x304, "i32")];
export const PENDING_BYTES: readonly [Field, Field] = [f(0x308, "i32"), f(0x30c, "i32")];
export const PENDING_PHYS: readonly [Field, Field] = [f(0x310, "i64"), f(0x318, "i64")];

export const XMM = 0x400;
/** x87 registers R0-R7 by physical number, 16 bytes each, 80 bits used; MMX is their low half. */
export const X87 = 0x500;
export const FCW: Field = f(0x580, "i32", 16);
/** Status word without TOP. */
export const FSW: Field = f(0x582, "i32", 16);
export const FTOP: Field = f(0x584, "i32", 8);
/** Abridged tags: bit i set = register Ri in use. */
export const FTAG: Field = f(0x585, "i32", 8);
export const FOP: Field = f(0x586, "i32", 16);
export const FIP: Field = f(0x588, "i64");
export const FDP: Field = f(0x590, "i64");
export const MXCSR: Field = f(0x598, "i32");

/** Bytes of a load or store that is not a plain access to one RAM page. Offsets in the state block. */
export const SCRATCH_READ = 0x600;
export const SCRATCH_WRITE = 0x640;
/** One micro-op, for the evaluator. */
export const SCRATCH_UOP = 0x680;
/** Paging-structure entries from outside RAM, up to 32 bytes. */
export const SCRATCH_ENTRY = 0x6a0;
/** The last 32 branch targets. */
export const BRANCH_RING = 0x700;
export const BRANCH_RING_ENTRIES = 32;
/** Values to push on a stack that is not yet in use (cpu/stack-frame.ts). */
export const SCRATCH_FRAME = 0x900;
export const FRAME_SLOTS = 48;
/** For results of routines that return more than one value. */
export const result = (index: 0 | 1 | 2 | 3): Field => f(0x800 + index * 8, "i64");
/** FERR# is asserted: an x87 error waits, CR0.NE is clear, and the board was told (cpu/x87-error.ts). */
export const FERR: Field = f(0x870, "i32");
/** Statistics: instructions that ran in regions, and how often the dispatcher entered one. */
export const REGION_RETIRED: Field = f(0x8d0, "i64");
export const REGION_ENTRIES: Field = f(0x8d8, "i64");
/** Statistics: table walks for accesses that the TLB did not have; flushes of it by CR3 and the like, and by INVLPG. */
export const TLB_MISSES: Field = f(0xb00, "i64");
export const TLB_FLUSHES: Field = f(0xb08, "i64");
export const TLB_PAGE_FLUSHES: Field = f(0xb10, "i64");
/** Statistics: how often the code of a page was dropped, because some of it was overwritten. */
export const CODE_DROPS: Field = f(0xb18, "i64");
/** What the vCPU's thread does, ACTIVITY_*, for a look from another thread: how time is spent is sampled. */
export const ACTIVITY: Field = f(0xb20, "i32");
/** How many counts of heat are enough before there are none left: HASTE_ABOVE. */
export const HASTE: Field = f(0xb24, "i32");
/** Even multiples of JUMP_STEP: of what a new CR3 changes, too, and of what it does not. */
export const JUMP_GENERATION: Field = f(0x8e0, "i32");
export const JUMP_GLOBAL_GENERATION: Field = f(0xb28, "i32");
/**
 * The linear page that was last stored to through RSP by translated code (jit/page-access.ts), and what to add to an
 * address in it for the host's. STACK_LIMIT: accesses that begin at a smaller offset in the page are inside; 0 = none.
 */
export const STACK_PAGE: Field = f(0x8e8, "i64");
export const STACK_LIMIT: Field = f(0x8f0, "i64");
export const STACK_ADDEND: Field = f(0x8f8, "i32");
/** What the 128-bit arithmetic of x87 transcendentals works on (cpu/x87-wide.ts). */
export const wide = (index: 0 | 1 | 2 | 3 | 4 | 5 | 6 | 7 | 8 | 9): Field => f(0x820 + index * 8, "i64");

/**
 * The line that the time-stamp counter follows (cpu/time-stamp.ts, engine/engine.ts), while TSC_KNOWN is 1: at TSC_RETIRED
 * instructions it is TSC_NS ns and TSC_PS ps late in the second whose count is TSC_OFFSET.
 */
export const TSC_KNOWN: Field = f(0x880, "i32");
export const TSC_RETIRED: Field = f(0x888, "i64");
export const TSC_NS: Field = f(0x890, "i64");
export const TSC_PS: Field = f(0x898, "i64");
export const TSC_PS_PER_INSTRUCTION: Field = f(0x8a0, "i64");
export const TSC_KHZ: Field = f(0x8a8, "i64");
export const TSC_OFFSET: Field = f(0x8b0, "i64");

/** Not in `run`. */
export const ACTIVITY_OUTSIDE = 0;
export const ACTIVITY_INTERPRETER = 1;
export const ACTIVITY_REGIONS = 2;
/** A device's model, or the clock's. */
export const ACTIVITY_DEVICES = 3;
export const ACTIVITY_DECODING = 4;
/** Asks for translations, installs them, or translates where there is no other thread. */
export const ACTIVITY_TRANSLATION = 5;

export const MODE_64 = 1;
/** CS.D of legacy and compatibility code. */
export const MODE_32 = 2;
/** SS.B of legacy and compatibility code: stack addresses are 32 bits. */
export const MODE_STACK32 = 4;
/** Protected mode, and not virtual-8086. */
export const MODE_PROTECTED = 8;
/** One instruction a block: single step, budget's end, interrupt shadow. */
export const MODE_SINGLE = 16;
/**
 * 32-bit protected code as operating systems have it: CS, SS, DS and ES begin at 0 and reach to 4 GiB, and the last three
 * are writable data. Accesses through them need neither base nor check.
 */
export const MODE_FLAT = 32;

export const ATTENTION_CODE = 1;
export const ATTENTION_KICK = 2;
export const ATTENTION_EVENT = 4;
export const ATTENTION_TRAP = 8;

/** A TLB entry: linear page numbers for which the access hits, and what to add to an address (mod 2^32) for the host's. */
export const TLB_ENTRIES = 4096;
export const TLB_READ = 0;
export const TLB_WRITE = 8;
export const TLB_EXECUTE = 16;
export const TLB_ADDEND = 24;
/** Not 0: the page is global. */
export const TLB_GLOBAL = 28;
export const TLB_ENTRY_BYTES = 32;
export const TLB_SET_BYTES: number = TLB_ENTRIES * TLB_ENTRY_BYTES;
export const TLB_SUPERVISOR = 0x20000;
export const TLB_USER = 0x40000;
/** Supervisor accesses with EFLAGS.AC = 1 under CR4.SMAP; elsewhere empty and not in use. */
export const TLB_SUPERVISOR_AC = 0x60000;
/** Addresses of the entries filled since the last flush: not global, then global; a count and up to 4095 addresses each. */
export const TLB_LOG = 0x80000;
export const TLB_LOG_GLOBAL = 0x84000;
export const TLB_LOG_ENTRIES = 4095;
/** One bit for each 2 MiB of linear space (modulo 4096): entries there came from a page of 2 or 4 MiB. */
export const TLB_LARGE = 0x88000;
export const TLB_LARGE_BYTES = 512;
/** One bit for each GiB of linear space (modulo 32768): entries there came from a page of 1 GiB. */
export const TLB_HUGE = 0x89000;
export const TLB_HUGE_BYTES = 4096;
/** Never hits: every access takes the slow path (alignment checks, data breakpoints). */
export const TLB_NONE = 0xa0000;

/**
 * Regions by linear address, for jumps and calls from one to another: entries of {linear address i64, a
 * generation + TLB_CURRENT + MODE i32, index in the table i32}. An entry holds while no mapping changes and no code is
 * written. The generation is JUMP_GENERATION, or, for supervisor code in global pages alone, JUMP_GLOBAL_GENERATION +
 * JUMP_STEP: such an entry outlives a new CR3.
 */
export const JUMP_CACHE = 0xc0000;
export const JUMP_ENTRIES = 4096;
export const JUMP_ENTRY_BYTES = 16;
export const JUMP_CACHE_BYTES: number = JUMP_ENTRIES * JUMP_ENTRY_BYTES;
/** One generation: more than any TLB_CURRENT + MODE. */
export const JUMP_STEP = 0x100000;

/**
 * One bit for each page of linear space (modulo 32768) whose mapping translated code relies on, besides its TLB: pages that
 * the regions in JUMP_CACHE and the running ones lie in, and those that were STACK_PAGE. Cleared with JUMP_CACHE.
 */
export const RELIED_PAGES = 0xd0000;
export const RELIED_PAGES_BYTES = 4096;

/** A page of all ones: what code outside RAM reads as. */
export const ONES_PAGE = 0x90000;

/**
 * One i32 of all vCPUs: bit n for 16 KiB of RAM at SHADOW_START + n * 16 KiB where the guest's stores go to the bus, and do not
 * reach memory (engine/shadow-protection.ts). As in ROM, granules of their pages are all set, so that each store is looked at.
 */
export const SHADOW_PROTECTED = 0x91000;
export const SHADOW_START = 0xc0000;
export const SHADOW_BYTES = 0x40000;

/**
 * Block look-up: 64 Ki sets of 4 entries {tag: host address | mode << 32, block address}, one cache line each. The
 * first entry is looked at in line; a hit in another changes places with it.
 */
export const BLOCK_HASH = 0x100000;
export const BLOCK_SET_BITS = 16;
export const BLOCK_WAYS = 4;
export const BLOCK_HASH_BYTES: number = (16 * BLOCK_WAYS) << BLOCK_SET_BITS;
export const ARENA: number = BLOCK_HASH + BLOCK_HASH_BYTES;
export const ARENA_BYTES = 0xc00000;
export const PAGE_TABLES: number = ARENA + ARENA_BYTES;

/** A block: header, then its micro-ops. */
export const BLOCK_HEADER_BYTES = 48;
/** Instructions (16 bits); bytes of header and micro-ops (16 bits). */
export const BLOCK_COUNT = 0;
export const BLOCK_BYTES = 2;
/** Page-list link: the next block of the same physical page. */
export const BLOCK_NEXT = 4;
/** Host address of the second page of a block that is one page-crossing instruction; 0 = none. */
export const BLOCK_SECOND = 12;
/** The block that a page-list entry stands for: itself, or the crossing block that reaches into this page. */
export const BLOCK_ALIAS = 16;
/** What the block was decoded from: host address of its first byte, and mode. */
export const BLOCK_HOST = 20;
export const BLOCK_MODE = 24;
/**
 * How hot the block is: above 0, how often it may run until it is worth a translation; 0: its translation is asked
 * for; below 0: ~index of its region's function in the core's table. Blocks that need a look each time they run (of one
 * instruction, across two pages) stay at 0.
 */
export const BLOCK_HEAT = 8;
/**
 * Blocks whose heat is in [HASTE_ABOVE, HASTE_ABOVE + HASTE) are hot already (jit/haste.ts). What has less left was
 * given a number of its own.
 */
export const HASTE_ABOVE = 512;
/** Host addresses of the pages before and behind the block's that its region's code lies in, too; 0: not. */
export const BLOCK_PAGE_BEFORE = 28;
export const BLOCK_PAGE_AFTER = 32;
/** BLOCK_HEAT when the block last outlived all others; 0: it is new. */
export const BLOCK_KEPT_HEAT = 36;
/** The last two blocks that ran behind this one and had to be looked up: guesses; 0: none. */
export const BLOCK_AFTER = 40;

/** A micro-op has both parts (UOP_BYTES) or the first alone (UOP_SHORT_BYTES): its handler says which (isa/handlers.ts). */
export const UOP_BYTES = 32;
export const UOP_SHORT_BYTES = 16;
export const UOP_HANDLER = 0;
export const UOP_OPERAND = 2;
/** Start of the instruction, counted from the block's. */
export const UOP_START = 8;
/** Instructions of the block after this one. */
export const UOP_LEFT = 10;
export const UOP_LENGTH = 11;
/** 64 bits; of a short micro-op 32, which stand for what they are sign-extended. */
export const UOP_IMMEDIATE = 12;
/** Of the memory operand: displacement, places of base, index and segment base, segment register number. */
export const UOP_DISPLACEMENT = 20;
export const UOP_BASE = 24;
export const UOP_INDEX = 26;
export const UOP_SEGMENT_BASE = 28;
export const UOP_SEGMENT = 30;
/** Bits 0-1 scale, 2: 32-bit address, 3: 16-bit address, 4: legacy segmentation. */
export const UOP_ADDRESS = 31;

/** Beside the scale. None is among the bits that a 32-bit shift looks at. */
export const ADDRESS_32 = 32;
export const ADDRESS_16 = 64;
export const ADDRESS_LEGACY = 128;

/** What `run` answers. */
export const EXIT_BUDGET = 1;
export const EXIT_HALT = 2;
export const EXIT_INTERRUPT = 3;
export const EXIT_KICK = 4;
export const EXIT_SHUTDOWN = 5;
export const EXIT_DEBUG = 6;
/** PAUSE, where several vCPUs run in turn. */
export const EXIT_YIELD = 7;

/** The state block's size: what is exchanged when another vCPU runs. */
export const CPU_BYTES = 0xc00;
/** Of each vCPU but the first: its block while others run, and its TLB, behind the page tables; the first block of all is there, too. */
export const VCPU_AREA_BYTES = 0x100000;
export const MAX_VCPUS = 8;

export interface MemoryMap {
  /** Absolute addresses: list heads (i32), code granules (i64) and PAGE_UNWRITTEN of each RAM and ROM page; RAM itself. */
  readonly pageLists: number;
  readonly pageGranules: number;
  readonly pageUnwritten: number;
  readonly ram: number;
  readonly ramBytes: number;
  /** Of these below 4 GiB. */
  readonly lowRamBytes: number;
  /** ROM lies at `ram + ramBytes`. Its granules are all set: a page that may never be written without a look. */
  readonly romBytes: number;
  /** Where the area of vCPU 1 begins; those of the others follow. */
  readonly vcpuAreas: number;
  readonly vcpus: number;
  /** Of vCPUs in parallel, which each have all tables below RAM of their own but granules and PAGE_UNWRITTEN: where, against the first one's. */
  readonly ownShift: number;
  readonly wasmPages: number;
}

/** Of the vCPU that a map is for: CPU_BASE, or where it is instead. */
export const cpuBase = ({ ownShift }: Pick<MemoryMap, "ownShift">): number => CPU_BASE + ownShift;

/** Where a vCPU's state block lies while another one runs. Precondition: there are several. */
export function parkedBlock(map: MemoryMap, vcpu: number): number {
  return vcpu === 0 ? map.vcpuAreas : map.vcpuAreas + (vcpu - 1) * VCPU_AREA_BYTES + CPU_BASE;
}

/**
 * TLB_SHIFT of a vCPU. The addresses of its sets differ from every other vCPU's modulo JUMP_STEP, too, and by more than
 * MODE has bits: so the entries of JUMP_CACHE, which all use, are told apart by their keys.
 */
export function tlbShift(map: MemoryMap, vcpu: number): number {
  return vcpu === 0 ? 0 : map.vcpuAreas + (vcpu - 1) * VCPU_AREA_BYTES + vcpu * 64;
}

/**
 * `ramBytes`: a multiple of 4096, at most 3 GiB. `romBytes`: a multiple of 4096, at most 16 MiB. `ramAt`: where RAM lies
 * in a memory that somebody else has made, whole pages; behind the tables. `lowRamBytes`: how much of RAM the guest finds below 4 GiB, at most.
 */
export function memoryMap(
  ramBytes: number,
  romBytes = 0,
  ramAt?: number,
  vcpus = 1,
  lowRamBytes: number = MEMORY_MAP.lowRamEnd,
): MemoryMap {
  const pages = (ramBytes + romBytes) / 4096;
  const pageLists = PAGE_TABLES;
  const pageGranules = pageLists + pages * 4 + (pages % 2) * 4;
  const pageUnwritten = pageGranules + pages * 8;
  const vcpuAreas = Math.ceil((pageUnwritten + pages) / VCPU_AREA_BYTES) * VCPU_AREA_BYTES;
  const tablesEnd = vcpus > 1 ? vcpuAreas + (vcpus - 1) * VCPU_AREA_BYTES : pageUnwritten + pages;
  const ram = ramAt ?? Math.ceil(tablesEnd / 0x200000) * 0x200000;
  if (ram < tablesEnd || ram % 4096 !== 0) throw new RangeError(`no room for the tables below RAM at ${ram}`);
  return {
    pageLists,
    pageGranules,
    pageUnwritten,
    ram,
    ramBytes,
    lowRamBytes: Math.min(ramBytes, lowRamBytes),
    romBytes,
    vcpuAreas,
    vcpus,
    ownShift: 0,
    wasmPages: Math.ceil((ram + ramBytes + romBytes) / 65536),
  };
}

/** The maps of vCPUs that run in parallel in one memory: RAM, granules and PAGE_UNWRITTEN are the same ones. */
export function parallelMaps(
  ramBytes: number,
  romBytes: number,
  vcpus: number,
  lowRamBytes?: number,
): readonly MemoryMap[] {
  const one = memoryMap(ramBytes, romBytes, undefined, 1, lowRamBytes);
  const listBytes = one.pageGranules - one.pageLists;
  const areaBytes = Math.ceil((PAGE_TABLES + listBytes) / VCPU_AREA_BYTES) * VCPU_AREA_BYTES;
  const ram = Math.ceil((one.vcpuAreas + (vcpus - 1) * areaBytes) / 0x200000) * 0x200000;
  const wasmPages = Math.ceil((ram + ramBytes + romBytes) / 65536);
  return Array.from({ length: vcpus }, (_, vcpu) => {
    const ownShift = vcpu === 0 ? 0 : one.vcpuAreas + (vcpu - 1) * areaBytes;
    return { ...one, pageLists: one.pageLists + ownShift, ram, wasmPages, ownShift };
  });
}

/** Of a memory in which a jit engine can take a guest over: what RAM lies behind. */
export function tableBytesBelowRam(ramBytes: number, romBytes = 0, vcpus = 1): number {
  return memoryMap(ramBytes, romBytes, undefined, vcpus).ram;
}
