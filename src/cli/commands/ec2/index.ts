/** `hawser ec2`: single instances, and what people look up before they start a pool. */
import type { Group } from "../../command.ts";

export const group: Group = {
  description: "Looks up instance types and prices of EC2, and looks after single instances of pools.",
  commands: [
    { name: "ls", summary: "List instances of Hawser's in a region", load: () => import("./ls.ts") },
    { name: "info", summary: "Show what is known of an instance", load: () => import("./info.ts") },
    { name: "start", summary: "Switch instances of Hawser's on", load: () => import("./start.ts") },
    { name: "stop", summary: "Switch instances of Hawser's off", load: () => import("./stop.ts") },
    { name: "eip", summary: "Addresses that stay with an instance", load: () => import("./eip.ts") },
    { name: "terminate", summary: "End instances of Hawser's", load: () => import("./terminate.ts") },
    { name: "presets", summary: "List presets", load: () => import("./presets.ts") },
    { name: "prices", summary: "Show prices of instance types", load: () => import("./prices.ts") },
    {
      name: "spot-history",
      summary: "Show spot prices of the last days",
      load: () => import("./spot-history.ts"),
    },
    { name: "types", summary: "Show zones that have instance types", load: () => import("./types.ts") },
  ],
  examples: [
    ["ec2 presets", "What `preset:` may be"],
    ["ec2 prices gpu-a10 --region eu-central-1", "What its types cost there"],
  ],
};
