import { describe, expect, it } from "vitest";
import { DiskPace } from "../../../src/common/disk-pace.ts";

describe("small operations on a disk", () => {
  let nowMs = 0;
  const pace = new DiskPace(() => nowMs);
  const taking = (ms: number): unknown =>
    pace.run(
      () => {
        nowMs += ms;
        return "at once";
      },
      () => Promise.resolve("later"),
    );

  it("are carried out at once while none takes long", () => {
    expect([taking(0), taking(1), taking(2)]).toEqual(["at once", "at once", "at once"]);
  });

  it("go to the thread pool for twenty times as long as one has taken", async () => {
    expect(taking(5)).toBe("at once");
    expect(await taking(0)).toBe("later");
    nowMs += 99;
    expect(await taking(0)).toBe("later");
    nowMs += 1;
    expect(taking(0)).toBe("at once");
  });

  it("that fail slowly count as slow", async () => {
    const failing = (): unknown =>
      pace.run(
        () => {
          nowMs += 3;
          throw new Error("no room");
        },
        () => Promise.resolve("later"),
      );
    expect(failing).toThrow("no room");
    expect(await failing()).toBe("later");
  });
});
