/** Networks of VMs: what is at the other end of their cards. */

export {
  type CardLimits,
  type ForwardOptions,
  NETWORK_MODELS,
  type NetworkModel,
  type NetworkOptions,
  type NetworkProblem,
} from "./network-protocol.ts";
export { type SwitchCard, switchCards, switchCardsOfSpec } from "./switch-cards.ts";
export { switchSocket } from "./switch-socket.ts";
export type { VmNetwork } from "./vm-network.ts";
