/** Networks for guests, for any host: sockets, names and time are handed in as a NetworkWorld. */

export { formatIpAddress, type IpAddress, parseIpAddress } from "./address.ts";
export type { ConnectionRecord } from "./connection-log.ts";
export {
  describeRule,
  Egress,
  type EgressMode,
  type EgressRule,
  EgressRuleError,
  parseEgressRule,
  type Verdict,
} from "./egress.ts";
export { EthernetSwitch, type SwitchPort, type SwitchStatistics } from "./ethernet-switch.ts";
export type { GuestLink, Offload } from "./link.ts";
export { pcapHeader, pcapRecord } from "./pcap.ts";
export { type Prefix, parsePrefix } from "./prefix.ts";
export { ShapedWire, WIRE_LIMITS, type WireLimits } from "./shaped-wire.ts";
export { TFTP_ERROR, TftpError, type TftpFile, type TftpFiles } from "./tftp.ts";
export { UserNetwork, type UserNetworkOptions, type UserNetworkStatistics } from "./user-network.ts";
export {
  type HostStream,
  type HostUdp,
  NameError,
  type NameErrorCode,
  type NetworkWorld,
  type StreamEvents,
  type StreamFailure,
  type Timer,
  type UdpEvents,
} from "./world.ts";
