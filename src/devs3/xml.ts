/**
 * XML, as little as S3's documents need: an emitter over nested values and a scanner into nested elements.
 *
 * The scanner knows elements, text, entities, CDATA and comments; attributes are dropped, DTDs refused. It reads
 * request bodies, which are hostile: depth and size are bounded by the caller's body limit.
 */
import { s3Error } from "./errors.ts";

/**
 * A value that becomes elements: an object's keys are names, arrays repeat the name, undefined is left out. The name `#`
 * is none: its objects' children stand in its place, so that elements of different names can keep one order.
 */
export type XmlValue = string | number | boolean | undefined | XmlObject | readonly XmlValue[];
export interface XmlObject {
  readonly [name: string]: XmlValue;
}

const NAMESPACE = "http://s3.amazonaws.com/doc/2006-03-01/";
// Below U+0020 only tab and newline pass unescaped; a carriage return would be normalized away by the reader's parser.
// eslint-disable-next-line no-control-regex
const UNSAFE = /[&<>"\u0000-\u0008\u000b-\u001f\u007f]/;
// eslint-disable-next-line no-control-regex
const UNSAFE_ALL = /[&<>"\u0000-\u0008\u000b-\u001f\u007f]/g;
const ENTITY: Record<string, string> = { "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;" };

export function escapeXml(text: string): string {
  if (!UNSAFE.test(text)) return text;
  return text.replace(UNSAFE_ALL, (c) => ENTITY[c] ?? `&#x${c.charCodeAt(0).toString(16).toUpperCase()};`);
}

function emit(name: string, value: XmlValue): string {
  if (value === undefined) return "";
  if (Array.isArray(value)) {
    let out = "";
    for (const item of value as readonly XmlValue[]) out += emit(name, item);
    return out;
  }
  if (typeof value === "object") {
    let inner = "";
    for (const [child, inside] of Object.entries(value)) inner += emit(child, inside);
    return name === "#" ? inner : `<${name}>${inner}</${name}>`;
  }
  return `<${name}>${typeof value === "string" ? escapeXml(value) : String(value)}</${name}>`;
}

/** A whole document; `namespace: false` for errors, which S3 sends without one. */
export function xmlDocument(root: string, value: XmlObject, options: { namespace?: boolean } = {}): string {
  let inner = "";
  for (const name in value) inner += emit(name, value[name]);
  const attribute = options.namespace === false ? "" : ` xmlns="${NAMESPACE}"`;
  return `<?xml version="1.0" encoding="UTF-8"?>\n<${root}${attribute}>${inner}</${root}>`;
}

/** One element of a parsed document. */
export class XmlElement {
  readonly name: string;
  readonly children: XmlElement[] = [];
  text = "";

  constructor(name: string) {
    this.name = name;
  }

  all(name: string): XmlElement[] {
    return this.children.filter((child) => child.name === name);
  }

  child(name: string): XmlElement | undefined {
    return this.children.find((child) => child.name === name);
  }

  /** Text of the child with this name. */
  value(name: string): string | undefined {
    return this.child(name)?.text;
  }
}

function unescape(text: string): string {
  if (!text.includes("&")) return text;
  return text.replace(/&(#x[0-9a-fA-F]+|#\d+|\w+);/g, (all, body: string) => {
    if (body.startsWith("#x")) return String.fromCodePoint(Number.parseInt(body.slice(2), 16));
    if (body.startsWith("#")) return String.fromCodePoint(Number.parseInt(body.slice(1), 10));
    return { amp: "&", lt: "<", gt: ">", quot: '"', apos: "'" }[body] ?? all;
  });
}

const MAX_DEPTH = 32;

/**
 * Parses a document and checks its root's name.
 *
 * @throws S3Error `MalformedXML`
 */
export function parseXml(text: string, root: string): XmlElement {
  const top = new XmlElement("");
  const stack: XmlElement[] = [top];
  const token =
    /<!--[\s\S]*?-->|<\?[\s\S]*?\?>|<!\[CDATA\[([\s\S]*?)\]\]>|<(\/?)([^\s/>!]+)([^>]*)>|([^<]+)/gy;
  let position = 0;
  while (position < text.length) {
    token.lastIndex = position;
    const match = token.exec(text);
    if (!match) throw s3Error("MalformedXML");
    position = token.lastIndex;
    const [, cdata, closing, rawName, attributes, chars] = match;
    const current = stack.at(-1)!;
    if (chars !== undefined) current.text += unescape(chars.replace(/\r\n?/g, "\n"));
    else if (cdata !== undefined) current.text += cdata;
    else if (rawName !== undefined) {
      const name = rawName.replace(/^.*:/, "");
      if (closing) {
        if (stack.length < 2 || current.name !== name) throw s3Error("MalformedXML");
        stack.pop();
      } else {
        if (stack.length > MAX_DEPTH) throw s3Error("MalformedXML");
        const element = new XmlElement(name);
        current.children.push(element);
        if (!attributes!.endsWith("/")) stack.push(element);
      }
    }
  }
  const document = top.children[0];
  if (stack.length !== 1 || top.children.length !== 1 || document!.name !== root)
    throw s3Error("MalformedXML");
  return document!;
}
