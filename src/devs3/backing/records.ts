/** State events as the journal's JSON and back: contents become descriptions, maps become events of their own. */
import type { ObjectVersion, Upload, UploadPart } from "../state/model.ts";
import type { StateEvent } from "./backing.ts";
import type { Content, ContentDescription } from "./content.ts";

type Written<T extends { content: Content }> = Omit<T, "content"> & { content: ContentDescription };

export type WrittenEvent =
  | Exclude<StateEvent, { t: "put" | "update" | "part" | "upload" }>
  | { t: "put" | "update"; bucket: string; version: Written<ObjectVersion> }
  | { t: "part"; bucket: string; uploadId: string; part: Written<UploadPart> }
  | { t: "upload"; bucket: string; upload: Omit<Upload, "parts"> };

/** @throws Error for a content that outlives nothing: a bug */
function written(content: Content): ContentDescription {
  const description = content.describe();
  if (!description) throw new Error("This content cannot be written down.");
  return description;
}

export function writeEvent(event: StateEvent): WrittenEvent {
  switch (event.t) {
    case "put":
    case "update":
      return { ...event, version: { ...event.version, content: written(event.version.content) } };
    case "part":
      return { ...event, part: { ...event.part, content: written(event.part.content) } };
    case "upload": {
      const { parts: _parts, ...upload } = event.upload;
      return { ...event, upload };
    }
    default:
      return event;
  }
}

/** @param revive the content of a description, for this bucket and key */
export function readEvent(
  event: WrittenEvent,
  revive: (bucket: string, key: string, description: ContentDescription) => Content,
): StateEvent {
  switch (event.t) {
    case "put":
    case "update": {
      const { bucket, version } = event;
      return { ...event, version: { ...version, content: revive(bucket, version.key, version.content) } };
    }
    case "part":
      return { ...event, part: { ...event.part, content: revive(event.bucket, "", event.part.content) } };
    case "upload":
      return { ...event, upload: { ...event.upload, parts: new Map() } };
    default:
      return event;
  }
}
