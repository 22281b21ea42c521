/** The part of the library that the program uses, so that tests can put another in its place. */
import * as host from "@twinmetal/host";

export type {
  CloudInitOptions,
  ConfinePlan,
  ControlOptions,
  ControlRequest,
  ControlServer,
  DiskLimits,
  DiskOptions,
  EngineExplanation,
  EngineQuestion,
  EngineSwitchResult,
  ExecResult,
  FileRule,
  ForwardOptions,
  GdbAddress,
  GdbServer,
  ImageInfo,
  MemoryAnswer,
  MigrationObstacle,
  MigrationProgress,
  MigrationResult,
  MigrationSecurity,
  NetworkOptions,
  ReplayResult,
  SandboxFinding,
  ScreenAnswer,
  ShareOptions,
  TinyImage,
  Vm,
  VmExit,
  VmOptions,
  VmProgress,
  VsockOptions,
} from "@twinmetal/host";

export type { CheckResult } from "@twinmetal/storage";

export type VmLibrary = Pick<
  typeof host,
  | "createVm"
  | "restoreVm"
  | "replayVm"
  | "ensureTinyImage"
  | "ensureCloudInitSeed"
  | "firmwareOfImage"
  | "ensureFirmware"
  | "ensureNetworkRoms"
  | "filesOfDisks"
  | "filesOfShares"
  | "keepVariables"
  | "knownFirmware"
  | "variablesPath"
  | "explainEngine"
  | "engineFor"
  | "receiveVm"
  | "formatAddress"
  | "serveMigrationControl"
  | "askMigrationControl"
  | "confineAndRestart"
  | "takeConfined"
  | "seal"
  | "serveGdb"
  | "sandboxSupport"
  | "createImage"
  | "imageInfo"
  | "checkImage"
  | "growImage"
  | "convertImage"
>;

export { DISK_LIMITS, MigrationDesk } from "@twinmetal/host";

export const VM_LIBRARY: VmLibrary = host;
