/**
 * A VM's way to another process or host: at most one at a time. One whose target may or may not run the VM is undecided, and
 * the VM stands still here until somebody has decided.
 */
import type { MigrationObstacle, MigrationResult } from "@twinmetal/core";
import {
  type MigrateVmOptions,
  type MigrationChoice,
  OutgoingMigration,
  type OutgoingVm,
} from "../migration/outgoing.ts";
import { VmError } from "./vm-error.ts";

export interface MigratingVm {
  source(): OutgoingVm;
  hasEnded(): boolean;
  becomes(state: "running" | "paused"): void;
}

/** What cannot be now is refused with VmError "bad-state". */
export class MigrationsOfVm {
  readonly #vm: MigratingVm;
  #migration: OutgoingMigration | undefined;

  constructor(vm: MigratingVm) {
    this.#vm = vm;
  }

  async run(target: string, options: MigrateVmOptions): Promise<MigrationResult> {
    this.requireDecided();
    if (this.#migration) throw new VmError("bad-state", "The VM is being migrated already.");
    const migration = new OutgoingMigration(this.#vm.source(), target, options);
    this.#migration = migration;
    try {
      return await migration.run();
    } finally {
      if (migration.isUndecided && !this.#vm.hasEnded()) this.#vm.becomes("paused");
      else this.#migration = undefined;
    }
  }

  async probe(target: string, options: MigrateVmOptions): Promise<readonly MigrationObstacle[]> {
    return await new OutgoingMigration(this.#vm.source(), target, options).probe();
  }

  async decide(choice: MigrationChoice): Promise<void> {
    const migration = this.#migration;
    if (!migration?.isUndecided) throw new VmError("bad-state", "No migration of this VM waits for a decision.");
    this.#migration = undefined;
    await migration.decide(choice);
    if (choice === "run" && migration.wasRunning) this.#vm.becomes("running");
  }

  requireDecided(): void {
    if (!this.#migration?.isUndecided) return;
    throw new VmError(
      "bad-state",
      "The VM may run at the target of its migration, so it does not go on here: decide the migration first.",
    );
  }

  requireMovable(): void {
    this.requireDecided();
    if (this.#migration) throw new VmError("bad-state", "The VM is being migrated, so its engine cannot be changed.");
  }
}
