// Read a container that persist wrote, in JavaScript, with nothing but Node: node read_without_persist.mjs FILE
//
// read(path) gives the tree: Map for dicts, Array for lists and tuples, Set for sets, NdArray for arrays, BigInt for large
// integers, {class, version, state} for records, [kind, ...] for values of rarer kinds. Sharing and cycles are kept.
// The format is specified in container.md.
import { readFileSync } from "node:fs"
import { inflateRawSync } from "node:zlib"
import { pathToFileURL } from "node:url"
export class NdArray { // elements in C order by toArray(); data is a Buffer, strides and offset are in bytes
  constructor(dtype, shape, data, strides, offset = 0) { Object.assign(this, { dtype, shape, data, strides, offset }) }
  toArray() {
    const out = [], get = element(this.dtype), total = this.shape.reduce((a, b) => a * b, 1), at = this.shape.map(() => 0)
    for (let n = 0; n < total; n++) {
      out.push(get(this.data, at.reduce((sum, index, axis) => sum + index * this.strides[axis], this.offset)))
      for (let axis = at.length - 1; axis >= 0 && ++at[axis] === this.shape[axis]; axis--) at[axis] = 0
    }
    return out
  }
}
function itemsize(dtype) { // of text such as <f8, of a list of fields [name, dtype, shape?], or of {fields, size}
  if (Array.isArray(dtype)) return dtype.reduce((sum, [, d, shape]) => sum + itemsize(d) * (shape ?? []).reduce((a, b) => a * b, 1), 0)
  if (typeof dtype === "object") return dtype.size ?? itemsize(dtype.base) * dtype.shape.reduce((a, b) => a * b, 1)
  return parseInt(dtype.slice(2)) * (dtype[1] === "U" ? 4 : 1)
}
function element(dtype) { // a function from a buffer and an offset to the element there
  if (Array.isArray(dtype)) { // one behind the other
    let offset = 0
    dtype = { fields: dtype.map(([name, d, shape]) => {
      const field = [name, shape ? { base: d, shape } : d, offset]
      offset += itemsize(field[1])
      return field
    }) }
  }
  if (dtype.fields) {
    const parts = dtype.fields.map(([, d, offset]) => [element(d), offset])
    return (data, at) => parts.map(([get, offset]) => get(data, at + offset))
  }
  if (dtype.base) {
    const get = element(dtype.base), size = itemsize(dtype.base), count = itemsize(dtype) / size
    return (data, at) => Array.from({ length: count }, (_, n) => get(data, at + n * size))
  }
  const size = itemsize(dtype), end = dtype[0] === ">" ? "BE" : "LE", kind = dtype[1]
  const half = (x) => (x & 32768 ? -1 : 1) * ((x >> 10) & 31 ? ((x >> 10) & 31) === 31 ? (x & 1023 ? NaN : Infinity)
    : 2 ** (((x >> 10) & 31) - 25) * (1024 + (x & 1023)) : 2 ** -24 * (x & 1023))
  if (kind === "b") return (data, at) => data[at] !== 0
  if (kind === "f" && size === 2) return (data, at) => half(data["readUInt16" + end](at))
  if (kind === "f" && size < 10) return (data, at) => data[(size === 8 ? "readDouble" : "readFloat") + end](at)
  if (kind === "c" && size < 20) return (data, at) => [0, size / 2].map((n) => data[(size === 16 ? "readDouble" : "readFloat") + end](at + n))
  if ("iumM".includes(kind)) {
    const name = "read" + (size === 8 ? "Big" : "") + (kind === "u" ? "UInt" : "Int") + size * 8 + (size > 1 ? end : "")
    return (data, at) => data[name](at)
  }
  if (kind === "S") return (data, at) => data.subarray(at, at + size).toString("latin1").replace(/\0+$/, "")
  if (kind === "U") return (data, at) => Array.from({ length: size / 4 }, (_, n) => data["readUInt32" + end](at + 4 * n))
    .map((point) => String.fromCodePoint(point)).join("").replace(/\0+$/, "")
  return (data, at) => data.subarray(at, at + size)
}
const steps = (shape, size, fortran) => { // strides in bytes of an array without holes
  const out = new Array(shape.length), axes = [...shape.keys()]
  for (const axis of fortran ? axes : axes.reverse()) { out[axis] = size; size *= shape[axis] }
  return out
}
function npy(data) { // the header is a dict in Python's spelling
  const begin = data[6] === 1 ? 10 : 12, end = begin + (data[6] === 1 ? data.readUInt16LE(8) : data.readUInt32LE(8))
  const said = JSON.parse(data.toString("utf8", begin, end).replaceAll("'", '"').replaceAll("False", "false").replaceAll("True", "true")
    .replaceAll("(", "[").replaceAll(/,?\s*\)/g, "]").replaceAll(/,\s*}/g, "}"))
  return new NdArray(said.descr, said.shape, data.subarray(end), steps(said.shape, itemsize(said.descr), said.fortran_order))
}
function unzip(file) { // name -> function that gives the bytes; ZIP64 where the plain fields are full
  const members = new Map(), last = file.length - 22
  let count = file.readUInt16LE(last + 10), at = file.readUInt32LE(last + 16)
  if (count === 0xffff || at === 0xffffffff) {
    const end64 = Number(file.readBigUInt64LE(last - 12))
    count = Number(file.readBigUInt64LE(end64 + 32)), at = Number(file.readBigUInt64LE(end64 + 48))
  }
  for (; count--; ) {
    const [method, name, extra] = [10, 28, 30].map((n) => file.readUInt16LE(at + n))
    let big = at + 46 + name + 4
    const [, packed, offset] = [24, 20, 42].map((n) => {
      const value = file.readUInt32LE(at + n)
      return value === 0xffffffff ? Number(file.readBigUInt64LE((big += 8) - 8)) : value
    })
    members.set(file.toString("utf8", at + 46, at + 46 + name), () => {
      const start = offset + 30 + file.readUInt16LE(offset + 26) + file.readUInt16LE(offset + 28), data = file.subarray(start, start + packed)
      if (method !== 0 && method !== 8) throw new Error(`compression ${method} is not known here`)
      return method === 8 ? inflateRawSync(data) : data
    })
    at += 46 + name + extra
  }
  return members
}
const small = (n) => (typeof n === "bigint" && Number.isSafeInteger(Number(n)) ? Number(n) : n)

export function read(path) {
  const members = unzip(readFileSync(path)), names = [...members.keys()], arrays = new Map(), built = new Map()
  const marked = (text) => text.replaceAll(/"(?:[^"\\]|\\.)*"|-?\d{16,}(?![\d.eE])/g, (one) => (one[0] === '"' || /[.eE]/.test(one) ? one : `{"$int":"${one}"}`))
  const parse = (name) => JSON.parse(marked(members.get(name)().toString("utf8")), (_, said) => (said?.$int ? small(BigInt(said.$int)) : said))
  const manifest = parse("manifest.json"), { layouts, shapes, nodes, root, tables = [], lists = [], blocks = [] } = parse("graph.json")
  if (manifest.format !== "persist" || ![1, 2].includes(manifest.version)) throw new Error("no container of version 1 or 2")
  const member = (m) => { if (!arrays.has(m)) arrays.set(m, npy(members.get(names[m])())); return arrays.get(m) }
  const value = (cell) => { if (!Array.isArray(cell)) return cell; if (!built.has(cell[0])) make(cell[0], nodes[cell[0] - first]); return built.get(cell[0]) }
  const run = (start, count) => Array.from({ length: count }, (_, n) => value([start + n])), flat = (m) => member(m).toArray().map(small)
  const hex = (text) => Buffer.from(text, "hex")
  const put = (n, made) => { built.set(n, made); return made }, pairs = (map, keys, items) => keys.forEach((key, n) => map.set(key, items[n]))
  const double = (text) => hex(text).readDoubleBE(0), data = (d) => (typeof d === "string" ? hex(d) : member(d).data), list = (...cells) => cells.map(value)
  const row = (shape) => ({ ...shapes[shape], state: new Map() })
  const kinds = {
    member, list, tuple: list, cells: list, listrun: run, run, numbers: flat, text: flat, float: double, bytes: data, bytearray: data,
    set: (...cells) => new Set(list(...cells)), frozenset: (...cells) => new Set(list(...cells)), str_: value, matrix: value, recarray: value,
    int: (text) => (text[0] === "-" ? -BigInt(text.replace("-", "").replace(/^(0x)?/, "0x")) : BigInt(text.replace(/^\+?(0x)?/, "0x"))),
    complex: (a, b) => [double(a), double(b)], str: (text) => hex(text).toString("utf8"), bytes_: hex, dtype: (said) => said, stateof: (c) => value(c).state,
    scalar: (d, text) => element(value(d))(hex(text), 0), "array.array": (_, d) => (typeof d === "string" ? d : member(d)),
    view: (m, d, shape, strides, offset) => {
      const whole = member(m), dtype = d === null ? whole.dtype : value(d)
      return new NdArray(dtype, shape ?? whole.shape, whole.data, strides ?? (shape ? steps(shape, itemsize(dtype)) : whole.strides), offset)
    },
    refs: (m) => flat(m).map((n) => (n < 0 ? null : value([n]))), same: (c) => ({ get: () => value(c) }),
    dictrun: (keys, start, count) => { const made = new Map(); pairs(made, layouts[keys], run(start, count)); return made },
    tuples: (...parts) => { const all = parts.map(column); return { get: (n) => all.map((one) => item(one, n)) } },
  }
  const column = ([kind, ...cells]) => (kinds[kind] ? kinds[kind](...cells) : [kind, ...list(...cells)]), item = (one, n) => (Array.isArray(one) ? one[n] : one.get(n))
  function make(n, node) {
    let [kind, ...cells] = Number.isInteger(node) ? ["member", node] : node[0] === "late" ? node.slice(1) : node
    if (kind === "list" || kind === "deque") put(n, []).push(...list(...(kind === "deque" ? cells.slice(1) : cells)))
    else if (["dict", "map", "Counter", "defaultdict", "OrderedDict"].includes(kind)) {
      const made = put(n, new Map()), rest = ["defaultdict", "OrderedDict"].includes(kind) ? cells.slice(1) : cells
      if (kind === "dict") pairs(made, layouts[rest[0]], list(...rest.slice(1)))
      else for (let i = 0; i < rest.length; i += 2) made.set(value(rest[i]), value(rest[i + 1]))
    } else if (kind === "record") { const made = put(n, row(cells[0])); pairs(made.state, layouts[made.fields], list(...cells.slice(1))) }
    else if (kind === "object") { const made = put(n, row(cells[0])); ["args", "kwargs", "listitems", "dictitems", "state"].slice(0, cells.length - 1).forEach((key, i) => { made[key] = value(cells[i + 1]) }) }
    else if (kind === "objects") { const made = put(n, []); made.push(...list(...cells.slice(2))) }
    else built.set(n, column([kind, ...cells]))
  }
  const rows = tables.map((t) => Array.from({ length: t.count }, () => row(t.shape))), many = lists.map((g) => Array.from({ length: g.count }, () => []))
  const rowsOf = ([m, count]) => { const a = member(m); return Array.from({ length: count }, (_, n) => new NdArray(a.dtype, a.shape.slice(1), a.data, a.strides.slice(1), a.offset + n * a.strides[0])) }
  for (const group of [...rows, ...blocks.map(rowsOf), ...many]) for (const made of group) built.set(built.size, made)
  const first = built.size
  nodes.forEach((_, n) => value([first + n]))
  lists.forEach((group, g) => { const lengths = column(group.lengths), items = column(group.items); let at = 0
    many[g].forEach((made, n) => { for (let left = item(lengths, n); left-- > 0; ) made.push(item(items, at++)) }) })
  tables.forEach((table, t) => layouts[shapes[table.shape].fields].forEach((name, f) => {
    const values = column(table.columns[f]); rows[t].forEach((one, n) => one.state.set(name, item(values, n))) }))
  return value(root)
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? "").href) console.dir(read(process.argv[2]), { depth: 6 })
