/** `hawser pool policy`. */
import { userPolicy } from "../../../launch/ec2/policy.ts";
import type { Command } from "../../command.ts";

export const command: Command = {
  usage: [""],
  description: "Prints the IAM policy that a user needs for pools of instances.",
  options: {},
  maxPositionals: 0,
  examples: [["pool policy > policy.json", "For whoever looks after the account"]],
  run(_args, terminal) {
    terminal.out(JSON.stringify(userPolicy(), null, 2));
    return Promise.resolve();
  },
};
