import { expect, test } from "vitest";
import { command } from "../../../src/cli/commands/s3/cp.ts";
import { parseArguments } from "../../../src/cli/parse.ts";
import { inOneRoom, openConnection } from "../../../src/cli/s3-connection.ts";
import { runCommands } from "../../../src/cli/s3/run-commands.ts";
import { DEFAULT_MEMORY } from "../../../src/transfer/connection.ts";
import type { Room } from "../../../src/transfer/room.ts";

/** The room of a connection that a command would open here. */
async function roomHere(): Promise<Room> {
  await using connection = openConnection(await parseArguments("s3 cp", command, ["s3://bucket/a", "b"]));
  return connection.room;
}

test("commands of one run share the memory of one command", async () => {
  const rooms = await inOneRoom(async () => [await roomHere(), await inOneRoom(roomHere)]);

  expect(rooms[0]).toBe(rooms[1]);
  expect(rooms[0]!.memoryBytes).toBe(DEFAULT_MEMORY);
});

test("commands by themselves have memory of their own", async () => {
  expect(await roomHere()).not.toBe(await roomHere());
});

test("the lines of a run are in one room", async () => {
  const rooms = new Set<Room>();
  async function* lines(): AsyncGenerator<string> {
    for (let line = 0; line < 3; line++) {
      rooms.add(await roomHere());
      yield "# nothing to do";
    }
  }

  await runCommands(lines());

  expect(rooms.size).toBe(1);
});
