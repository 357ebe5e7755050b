/** A launcher that was killed, and who comes after it. */
import { expect } from "vitest";
import type { CloudWorld, Running } from "./cloud-world.ts";

/** By a later command, by whoever ends what nobody looks after, or without the record of it. */
export type Recovery = "down" | "cleanup" | "orphans";

/** Finds and removes what the killed launcher left. */
export async function recover(world: CloudWorld, how: Recovery): Promise<void> {
  if (how === "orphans") world.loseRecord();
  const { code, stderr } = await (how === "down"
    ? world.hawser("pool", "down")
    : world.hawser("pool", "cleanup"));
  expect({ code, stderr }).toMatchObject({ code: 0 });
  await world.expectNothing();
}

export async function killed(running: Running): Promise<void> {
  running.child.kill("SIGKILL");
  expect(await running.ended).toMatchObject({ signal: "SIGKILL" });
}
