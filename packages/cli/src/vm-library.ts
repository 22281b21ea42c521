/** The part of the library that the program uses, so that tests can put another in its place. */
import * as host from "@twinmetal/host";

export type {
  ControlOptions,
  ControlRequest,
  ControlServer,
  EngineExplanation,
  ExecResult,
  MigrationObstacle,
  MigrationProgress,
  MigrationResult,
  MigrationSecurity,
  ReplayResult,
  Vm,
  VmExit,
  VmOptions,
  VmProgress,
} from "@twinmetal/host";

export type VmLibrary = Pick<
  typeof host,
  | "createVm"
  | "restoreVm"
  | "replayVm"
  | "ensureTinyImage"
  | "explainEngine"
  | "receiveVm"
  | "formatAddress"
  | "serveMigrationControl"
  | "askMigrationControl"
>;

export { MigrationDesk } from "@twinmetal/host";

export const VM_LIBRARY: VmLibrary = host;
