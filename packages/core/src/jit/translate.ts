/**
 * From a region to a routine: its blocks' semantics in locals, put together by the flow graph (jit/structure.ts).
 *
 * A region is left with all state exact at RIP and one of LEFT_* (jit/routines.ts). An instruction that cannot be done
 * here and now (a fault, a device, a page crossing, a store to code) is left to the interpreter, which runs it from its
 * start. The budget is taken off block by block and looked at on entry, at loop headers and behind calls, for the
 * longest way to the next look; so it ends exactly, in the interpreter.
 */
import { RF_NT } from "../cpu/flags.ts";
import * as L from "../cpu/layout.ts";
import { Expr, i32, i64, select, Variable, v128 } from "../ir/builder.ts";
import type { Label, Routine, RoutineBody, Statement, ValueType } from "../ir/types.ts";
import { buildHandler } from "../isa/handlers.ts";
import { type Binding, FAULT, NEXT } from "../isa/semantics.ts";
import type { Translation } from "../isa/translation.ts";
import { callsOutside, endsShadow, isLoopOfItsOwn, loadsBehind, segmentsOf } from "./block-kinds.ts";
import { FlowGraph } from "./flow-graph.ts";
import { frameUnits } from "./frame.ts";
import { DISPATCH, dispatch } from "./indirect.ts";
import type { Instruction } from "./instruction.ts";
import { type FlagKind, RegionFlags, sameKind } from "./lazy-flags.ts";
import { type BlockFields, liveFields } from "./liveness.ts";
import { PageAccess } from "./page-access.ts";
import { type Block, PAGE_BYTES, type Region } from "./region.ts";
import { microOpAddress, RegionBuilder } from "./region-builder.ts";
import { RegionFloats } from "./region-floats.ts";
import { ALL_FIELDS, type FieldSet, FLAGS_FIELD, fieldBit, fieldsOf, GENERAL_FIELDS, typeOf } from "./registers.ts";
import { ENTRIES, isResumption, resumptionAt } from "./resumptions.ts";
import {
  ITSELF,
  jumpKey,
  LEFT_INTERPRET,
  LEFT_NEXT,
  LEFT_RETURN,
  MAX_DEPTH,
  runRegions,
  unparkFlags,
} from "./routines.ts";
import { type BlockCode, putTogether } from "./structure.ts";
import { endsEarly } from "./translatable.ts";
import { leaveRegion, worldRest } from "./world.ts";
import { X87Block } from "./x87-block.ts";

/** Where everything has to be in the state block: what stands before is known when the whole region is. */
interface CallSite {
  readonly before: Statement[];
  readonly kind: FlagKind;
}

const ZERO: Readonly<Record<string, Expr>> = { i32: i32(0), i64: i64(0), v128: v128(0n) };
/** Bits of a place: its offset, then the instructions of its block that were not run. */
const PLACE_BITS = 16;

class RegionTranslator {
  readonly #region: Region;
  readonly #graph: FlowGraph;
  readonly #b: RegionBuilder;
  readonly #kinds = new Map<number, FlagKind[]>();
  readonly #checked = new Set<number>();
  readonly #paths: ReadonlyMap<number, number>;
  /** Calls of other regions, and instructions on the state block. */
  readonly #calls: CallSite[] = [];
  /** Where registers are loaded, and of which block. */
  readonly #loading: { readonly body: Statement[]; readonly next: number; readonly isFirst: boolean }[] = [];
  readonly #fields = new Map<number, BlockFields>();
  readonly #interrupted: Label = { kind: "block" };
  readonly #left: Label = { kind: "block" };
  readonly #remaining: Variable;
  readonly #place: Variable;
  readonly #status: Variable;
  /** The instruction before may have been an STI. */
  #isShadowed = false;
  /** Ids of blocks that an STI may stand before. */
  readonly #shadowed = new Set<number>();
  readonly #memory: PageAccess;
  readonly #x87: X87Block;
  readonly #floats: RegionFloats;
  readonly #depth: Expr;
  #callsItself = false;
  /** As runRegions does, where the region is called without it. */
  readonly #deepCheck: Statement[] = [];
  /** #depth and this region's own frame. */
  readonly #depthInside: Variable;

  constructor(region: Region) {
    this.#region = region;
    this.#graph = new FlowGraph(region);
    this.#b = new RegionBuilder(isLoopOfItsOwn(this.#graph) ? 0n : GENERAL_FIELDS, (region.mode & L.MODE_FLAT) !== 0);
    this.#remaining = this.#outer("i32");
    this.#place = this.#outer("i32");
    this.#status = this.#outer("i32");
    this.#depthInside = this.#outer("i32");
    this.#memory = new PageAccess(this.#b, (type) => this.#outer(type));
    this.#x87 = new X87Block(this.#b);
    this.#floats = new RegionFloats(this.#b, (type) => this.#outer(type));
    this.#depth = this.#b.parameter("i32");
    for (const block of this.#graph.order) {
      if (callsOutside(block)) for (const to of this.#graph.successors(block)) this.#checked.add(to);
      if (isResumption(block)) this.#checked.add(block.id);
      if (this.#graph.isHeader(block.id)) this.#checked.add(block.id);
      const isSti = block.instructions.at(-1)?.handler.record.name === "sti";
      if (isSti) for (const to of this.#graph.successors(block)) if (this.#endsShadow(to)) this.#shadowed.add(to);
    }
    this.#paths = this.#graph.longestPaths((offset) => this.#checked.has(offset));
  }

  #outer(type: ValueType): Variable {
    return new Variable(this.#b, { type, mutable: true, version: 0, index: -1 });
  }
  #declare(variable: Variable, value: Expr = ZERO[variable.local.type] as Expr): void {
    this.#b.emit({ kind: "let", local: variable.local, value: value.take() });
  }

  translate(): RoutineBody {
    const b = this.#b;
    const opening = b.nested(() => this.#opening());
    const code = new Map(this.#graph.order.map((block) => [block.id, this.#block(block)]));
    const { used, written } = b;
    const live = liveFields(this.#graph, this.#fields);
    // What the region itself does not store is stored wherever the region is left: they have to be there always.
    const neededAt = (offset: number): FieldSet => (used & ~b.through) | (live.get(offset) ?? 0n);
    for (const call of this.#calls) this.#fillCall(call, written);
    for (const { body, next, isFirst } of this.#loading)
      body.push(...b.nested(() => this.#load(neededAt(next), isFirst)));
    b.flags.begin(undefined);
    const { start, entry } = this.#region;
    const loads = b.nested(() => {
      this.#loads(used);
      if (start === entry) this.#load(neededAt(entry), true);
    });
    const ending = b.nested(() => this.#ending(written));
    const interruption = b.nested(() => this.#interruption());
    if (this.#callsItself)
      this.#deepCheck.push(...b.nested(() => b.plainIf(this.#depth.gtU(MAX_DEPTH), () => b.return(LEFT_NEXT))));
    const body = putTogether(this.#graph, code);
    // A constant of its own; not 0, which would be left out.
    const units = new Expr({ kind: "const", type: "i32", value: 1 });
    const depth = b.nested(() => this.#declare(this.#depthInside, this.#depth.add(units)));
    const inner: Statement = { kind: "block", label: this.#interrupted, body };
    const statements: Statement[] = [
      ...opening,
      ...depth,
      ...loads,
      { kind: "block", label: this.#left, body: [inner, ...interruption] },
      ...ending,
    ];
    return { locals: b.parameters, statements, late: { node: units.node, value: frameUnits } };
  }

  #opening(): void {
    const b = this.#b;
    const rip = this.#outer("i64");
    const registers = Array.from({ length: FLAGS_FIELD }, (_, field) => this.#outer(typeOf(field)));
    const locals = {
      kind: this.#outer("i32"),
      x: this.#outer("i64"),
      y: this.#outer("i64"),
    };
    b.flags = new RegionFlags(b, locals);
    b.emit({ kind: "block", label: { kind: "block" }, body: this.#deepCheck });
    const remaining = b.fromState(L.REMAINING);
    b.if(remaining.ltS(this.#path(this.#region.start)), () => b.return(LEFT_INTERPRET), undefined, false);
    const segments = segmentsOf(this.#region);
    if (segments) b.if(b.fromState(L.SEGMENT_CHECKS).and(segments), () => b.return(LEFT_INTERPRET), undefined, false);
    this.#declare(this.#remaining, remaining);
    this.#declare(this.#place);
    this.#declare(this.#status);
    this.#declare(rip);
    const ripBase = b.keep(this.#ripBase());
    b.state = { registers, ripBase, tlbSet: b.fromState(L.TLB_CURRENT), rip, remaining: () => i32(0) };
    b.lazyFlags = b.flags;
    for (const local of Object.values(locals)) this.#declare(local);
  }
  /** RIP of the region's offset 0. Where there are several entries, all are in one page. */
  #ripBase(): Expr {
    const b = this.#b;
    const { entry, resumptions } = this.#region;
    const rip = b.fromState(L.RIP);
    if (resumptions.length === 0) return rip.sub(entry);
    const inPage = b.keep(rip.add(b.fromState(L.CODE_BASE)).and(BigInt(PAGE_BYTES - 1)));
    return rip.sub(inPage).sub(PAGE_BYTES);
  }
  /** First values of what the region keeps in locals. */
  #loads(used: FieldSet): void {
    const b = this.#b;
    if (b.usesFpu) b.if(b.fromState(L.FPU_BLOCKED), () => b.return(LEFT_INTERPRET), undefined, false);
    for (const field of fieldsOf(used & ~fieldBit(FLAGS_FIELD))) this.#declare(b.register(field));
    for (const { variable, value } of this.#floats.first) this.#declare(variable, value);
    const { stack } = this.#memory;
    if (!stack.isUsed) return;
    this.#declare(stack.page, b.fromState(L.STACK_PAGE));
    this.#declare(stack.addend, b.fromState(L.STACK_ADDEND));
    this.#declare(stack.limit, b.fromState(L.STACK_LIMIT));
  }
  #fillCall(call: CallSite, written: FieldSet): void {
    const b = this.#b;
    b.flags.begin(call.kind);
    call.before.push(...b.nested(() => b.storeFields(written, true)));
  }
  #load(needed: FieldSet, isFirst: boolean): void {
    this.#b.flags.begin(undefined);
    this.#b.loadFields(needed, true);
    if (!isFirst) this.#floats.reload();
  }
  /** Here, registers are loaded that are read from the block on. */
  #loadHere(next: number, isFirst = false): void {
    const loading = { body: [], next, isFirst };
    this.#loading.push(loading);
    this.#b.emit({ kind: "block", label: { kind: "block" }, body: loading.body });
    this.#b.flags.begin(undefined);
  }
  /** Behind `interrupted`: RIP and budget of #place. */
  #interruption(): void {
    const b = this.#b;
    const at = b.keep(
      b.state.ripBase.add(
        this.#place
          .get()
          .and((1 << PLACE_BITS) - 1)
          .u64(),
      ),
    );
    b.state.rip.set(this.#wrap(at));
    this.#remaining.set(this.#remaining.get().add(this.#place.get().shrU(PLACE_BITS)));
    this.#status.set(i32(LEFT_INTERPRET));
  }
  #ending(written: FieldSet): void {
    const b = this.#b;
    b.toState(L.REMAINING, this.#remaining.get());
    b.toState(L.RIP, b.state.rip.get());
    b.flags.begin(undefined);
    b.storeFields(written, true);
    b.return(this.#status.get());
  }

  #path(offset: number): number {
    return this.#paths.get(offset) ?? 0;
  }
  #wrap(rip: Expr): Expr {
    return this.#region.mode & L.MODE_64 ? rip : rip.and(0xffffffffn);
  }
  #address(offset: number): Expr {
    return this.#wrap(this.#b.state.ripBase.add(offset));
  }
  /** On a way out of the block. */
  #leave(): void {
    this.#x87.writeHere();
    this.#b.flags.writeHere();
    this.#b.storePendingHere();
  }
  /** At what `rip` is by now. */
  #leaveWith(left: number): void {
    this.#leave();
    this.#status.set(i32(left));
    this.#b.br(this.#left);
  }
  #leaveAt(offset: number, left: number): void {
    this.#b.state.rip.set(this.#address(offset));
    this.#leaveWith(left);
  }
  #interpret(offset: number, notRun: number): void {
    this.#leave();
    this.#place.set(i32(offset | (notRun << PLACE_BITS)));
    this.#b.br(this.#interrupted);
  }

  /** How flags are kept where a block starts. Back edges have not been looked at yet, so a header cannot tell. */
  #kindAt(block: Block): FlagKind {
    if (this.#graph.isHeader(block.id) || block.id === this.#region.entry) return undefined;
    const kinds = this.#kinds.get(block.id) ?? [];
    return kinds.length ? kinds.reduce(sameKind) : undefined;
  }

  #block(block: Block): BlockCode {
    const b = this.#b;
    const code: BlockCode = { statements: [], edges: [] };
    b.flags.begin(this.#kindAt(block));
    const successors = this.#graph.successors(block);
    const goTo = (offset: number): void => {
      const to = successors.find((id) => this.#region.blocks.get(id)?.offset === offset);
      if (to === undefined) {
        this.#leaveAt(offset, LEFT_NEXT);
        return;
      }
      const body: Statement[] = [];
      code.edges.push({ to, body });
      this.#leave();
      this.#kinds.set(to, [...(this.#kinds.get(to) ?? []), b.flags.kind]);
      b.emit({ kind: "block", label: { kind: "block" }, body, isIsolated: true });
    };
    this.#isShadowed = this.#shadowed.has(block.id);
    this.#memory.startBlock();
    b.startBlock();
    this.#x87.startBlock();
    this.#floats.startBlock();
    const list = b.nested(() => {
      if (isResumption(block)) this.#loadHere(block.offset);
      if (this.#checked.has(block.id)) {
        const tooLong = this.#remaining.get().ltS(this.#path(block.id));
        const leave = (): void =>
          block.id === DISPATCH ? this.#leaveWith(LEFT_INTERPRET) : this.#interpret(block.offset, 0);
        b.if(tooLong, leave, undefined, false);
      }
      if (block.count) this.#remaining.set(this.#remaining.get().sub(block.count));
      for (const [i, instruction] of block.instructions.entries()) {
        if (instruction.flow === "leave") this.#interpret(instruction.offset, 0);
        else if (instruction.flow === "end" || instruction.flow === "through") this.#end(instruction, block, goTo);
        else this.#instruction(instruction, block, i, goTo);
      }
      if (block.instructions.at(-1)?.flow === "next" || isResumption(block)) goTo(block.end);
      if (block.id === DISPATCH) {
        const offset = b.keep(b.state.rip.get().sub(b.state.ripBase));
        dispatch(b, offset, block.successors, goTo, () => this.#leaveWith(LEFT_NEXT));
      }
      if (block.id === ENTRIES) this.#dispatchEntries(goTo);
    });
    this.#memory.endBlock();
    const declared = b.nested(() => {
      for (const variable of this.#memory.declared) this.#declare(variable);
    });
    code.statements.push(...declared, ...list);
    // Behind a call registers are loaded anew.
    this.#fields.set(block.id, { needed: b.needed, defined: loadsBehind(block) ? ALL_FIELDS : b.defined });
    return code;
  }
  /** By the place of RIP in its page. */
  #dispatchEntries(goTo: (offset: number) => void): void {
    const b = this.#b;
    const { entry, resumptions } = this.#region;
    const offset = b.keep(b.fromState(L.RIP).sub(b.state.ripBase));
    b.if(
      offset.ne(entry),
      () => dispatch(b, offset, resumptions, goTo, () => b.return(LEFT_INTERPRET)),
      undefined,
      false,
    );
    this.#loadHere(entry, true);
    goTo(entry);
  }

  #instruction(instruction: Instruction, block: Block, index: number, goTo: (offset: number) => void): void {
    const b = this.#b;
    const notRun = block.count - index;
    b.microOp = instruction.microOp;
    b.state.remaining = () => this.#remaining.get().add(notRun - 1);
    const next = instruction.offset + instruction.length;
    const isShadowed = this.#isShadowed;
    // Not before: where the instruction is left in front of, the state has to say that there is a shadow.
    const endShadow = (): void => {
      if (!isShadowed) return;
      b.toState(L.SHADOW, i32(0));
      b.toState(L.ATTENTION, i32(0));
    };
    let startsShadow = false;
    const translation: Translation = {
      host: (address, bytes, isWrite, leave) => this.#memory.host(address, bytes, isWrite, leave),
      hostAlone: (address, bytes, leave) => this.#memory.hostAlone(address, bytes, leave),
      x87: this.#x87,
      floats: this.#floats,
      goTo: (where) => {
        // A string instruction without REP ends blocks for the interpreter only.
        if (instruction.flow === "next") return;
        endShadow();
        goTo(where === "next" ? next : where === "again" ? instruction.offset : (instruction.target ?? next));
      },
      jump: (isReturn) => {
        endShadow();
        const inside = isReturn && block.returnsTo !== undefined && this.#region.blocks.get(block.returnsTo);
        if (inside) b.plainIf(b.state.rip.get().ne(this.#address(inside.offset)), () => this.#leaveWith(LEFT_NEXT));
        if (inside) goTo(inside.offset);
        else if (instruction.flow === "indirect" && this.#graph.successors(block).includes(DISPATCH)) goTo(DISPATCH);
        else this.#leaveWith(isReturn ? LEFT_RETURN : LEFT_NEXT);
      },
      call: (target) => {
        endShadow();
        if (block.callsInside) goTo(instruction.target ?? 0);
        else if (target && block.successors.length > 1) {
          const inside = block.successors.slice(1).map((id) => this.#region.blocks.get(id)?.offset ?? 0);
          const call = (): void => this.#call(target, instruction, block, goTo);
          dispatch(b, b.keep(target.sub(b.state.ripBase)), inside, goTo, call);
        } else this.#call(target ?? this.#address(instruction.target ?? 0), instruction, block, goTo);
      },
      shadow: () => {
        startsShadow = true;
        b.toState(L.SHADOW, i32(1));
        b.toState(L.ATTENTION, i32(L.ATTENTION_CODE));
      },
    };
    const build = (end: Label | undefined): void => {
      const binding: Binding = {
        leave: (code) => {
          if (code === FAULT) this.#interpret(instruction.offset, notRun);
          else if (code === NEXT && end) b.br(end);
          else throw new Error(`${instruction.handler.key} cannot leave a region with ${code}`);
        },
        inlineAccess: true,
        addressing: this.#region.mode & L.MODE_FLAT ? "flat" : "any",
        translation,
      };
      buildHandler(b, instruction.handler, microOpAddress(), binding);
    };
    b.mayHaveEnded = false;
    // Once for all ways that control takes from here.
    if (instruction.flow !== "next") {
      this.#x87.write();
      b.flags.write();
      b.storePending();
    }
    b.mayHaveEnded = endsEarly(instruction.handler);
    if (b.mayHaveEnded) b.block(build);
    else build(undefined);
    if (instruction.flow === "next") endShadow();
    const follower = block.instructions[index + 1];
    const behind = block.successors.find((id) => this.#shadowed.has(id));
    this.#isShadowed = startsShadow && follower !== undefined && endsShadow(follower);
    if (startsShadow && !this.#isShadowed && (follower || behind === undefined))
      b.if(b.fromState(L.ATTENTION), () => this.#interpret(next, notRun - 1), undefined, false);
  }
  #endsShadow(id: number): boolean {
    const first = this.#region.blocks.get(id)?.instructions[0];
    return first !== undefined && endsShadow(first);
  }

  /** An instruction on the state block: the region's last one, or control stays if what it relies on is as before. */
  #end(instruction: Instruction, block: Block, goTo: (offset: number) => void): void {
    const b = this.#b;
    this.#x87.forget();
    b.flags.write();
    b.mayHaveEnded = false;
    b.storePending();
    const end = { before: [], kind: b.flags.kind };
    this.#calls.push(end);
    b.toState(L.REMAINING, this.#remaining.get());
    b.emit({ kind: "block", label: { kind: "block" }, body: end.before });
    b.call(unparkFlags);
    const key = b.keep(jumpKey(b));
    const rest = b.call(worldRest);
    b.microOp = instruction.microOp;
    b.onState(() =>
      b.block((done) => {
        const interpret = (): void => {
          b.put(L.RIP, this.#address(instruction.offset));
          b.put(L.REMAINING, this.#remaining.get().add(1));
          b.return(LEFT_INTERPRET);
        };
        const { record, shape } = instruction.handler;
        if (record.name === "iret" && !shape.mode64)
          b.if(b.get(L.SYSTEM_FLAGS).and(RF_NT), interpret, undefined, false);
        const leave = (code: number): void => {
          if (code === FAULT) interpret();
          else {
            if (code === NEXT) b.put(L.RIP, this.#address(instruction.offset + instruction.length));
            b.br(done);
          }
        };
        buildHandler(b, instruction.handler, microOpAddress(), { leave, inlineAccess: false, addressing: "any" });
      }),
    );
    if (this.#isShadowed) {
      b.toState(L.SHADOW, i32(0));
      b.toState(L.ATTENTION, b.fromState(L.ATTENTION).and(~L.ATTENTION_CODE));
    }
    const left = b.call(leaveRegion, key, rest);
    if (instruction.flow === "end") b.return(left);
    else {
      const kept = b.keep(left);
      b.if(kept.ne(LEFT_NEXT), () => b.return(kept), undefined, false);
      this.#goOn(instruction, block, goTo);
    }
  }
  /** Behind a call, or an instruction on the state block. */
  #goOn({ offset, length }: Instruction, block: Block, goTo: (offset: number) => void): void {
    const next = offset + length;
    const behind = block.successors.find((id) => this.#region.blocks.get(id)?.offset === next) ?? next;
    if (behind !== resumptionAt(next)) this.#loadHere(behind);
    this.#b.flags.begin(undefined);
    goTo(next);
  }

  #call(target: Expr, instruction: Instruction, block: Block, goTo: (offset: number) => void): void {
    const b = this.#b;
    const next = instruction.offset + instruction.length;
    const call: CallSite = { before: [], kind: b.flags.kind };
    this.#calls.push(call);
    b.storePending();
    b.toState(L.RIP, target);
    b.toState(L.REMAINING, this.#remaining.get());
    b.emit({ kind: "block", label: { kind: "block" }, body: call.before });
    const left = this.#run(instruction.target === this.#region.entry);
    const isElsewhere = b.fromState(L.RIP).ne(this.#address(next));
    b.if(left.or(isElsewhere), () => b.return(select(left, left, i32(LEFT_NEXT))), undefined, false);
    this.#remaining.set(b.fromState(L.REMAINING));
    this.#goOn(instruction, block, goTo);
  }
  /** Runs what is at RIP, until its return: LEFT_*. */
  #run(isItself: boolean): Expr {
    const b = this.#b;
    const depth = this.#depthInside.get();
    if (!isItself) return b.call(runRegions, depth);
    this.#callsItself = true;
    const left = b.variable(b.call(ITSELF, depth));
    b.plainIf(left.get().eq(LEFT_NEXT), () => left.set(b.call(runRegions, this.#depthInside.get())));
    return b.keep(left.get());
  }
}

/** (depth: units of the host's stack in use) -> LEFT_*. */
export function translateRegion(region: Region, name: string): Routine {
  return { name, params: ["i32"], result: "i32", body: () => new RegionTranslator(region).translate() };
}
