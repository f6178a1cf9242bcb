// Capstone 5.0.9 of npm's @alexaltea/capstone-js, made of its compiled module at once. Its exports have one letter each;
// the layouts are those of a 32-bit build: cs_insn and cs_detail of capstone.h, cs_x86 and cs_x86_op of x86.h.
(module) => {
  const X86 = 3;
  const MODE_64 = 8;
  const SYNTAX = [1, 2]; // CS_OPT_SYNTAX, CS_OPT_SYNTAX_ATT
  const DETAIL = [2, 3]; // CS_OPT_DETAIL, CS_OPT_ON
  const grow = (size) => {
    try {
      capstone.d.grow(Math.ceil((size - capstone.d.buffer.byteLength) / 65536));
      return 1;
    } catch {
      return 0;
    }
  };
  // What it prints, it prints nowhere: fd_write fails with EBADF.
  const capstone = new WebAssembly.Instance(module, { a: { a: () => 8, b: grow, c: () => 0 } }).exports;
  const { e: start, j: open, l: option, o: insn, p: next, q: name, y: access, z: malloc, A: free } = capstone;
  start();

  let memory = new DataView(capstone.d.buffer);
  let bytes = new Uint8Array(capstone.d.buffer);
  const view = () => {
    if (memory.buffer !== capstone.d.buffer) {
      memory = new DataView(capstone.d.buffer); // it has grown
      bytes = new Uint8Array(capstone.d.buffer);
    }
    return memory;
  };
  const ascii = new TextDecoder();
  const text = (at) => {
    view();
    return ascii.decode(bytes.subarray(at, bytes.indexOf(0, at)));
  };

  const place = malloc(16); // the pointer into the code, how much is left of it, and its address
  const opened = (...options) => {
    if (open(X86, MODE_64, place)) throw new Error("Capstone does not start");
    const handle = view().getUint32(place, true);
    for (const [kind, value] of options) option(handle, kind, value);
    return { handle, one: insn(handle) };
  };
  const plain = opened(SYNTAX);
  const whole = opened(SYNTAX, DETAIL);

  let room = 0;
  let size = 0;
  const put = (code, address) => {
    if (code.length > size) {
      free(room);
      size = code.length + 4096;
      room = malloc(size);
    }
    new Uint8Array(capstone.d.buffer).set(code, room);
    const memory = view();
    memory.setUint32(place, room, true);
    memory.setUint32(place + 4, code.length, true);
    memory.setBigUint64(place + 8, BigInt.asUintN(64, BigInt(address)), true);
  };
  const step = ({ handle, one }) => next(handle, place, place + 4, place + 8, one);

  const lite = (code, address) => {
    put(code, address);
    const lines = [];
    while (step(plain))
      lines.push(`${view().getUint16(plain.one + 16, true)}\t${text(plain.one + 42)}\t${text(plain.one + 74)}`);
    return lines.join("\n");
  };

  // The place of an instruction's cs_x86; undefined for bytes that are none, which Python sees as None.
  const x86 = (code) => {
    put(code, 0);
    return step(whole) ? view().getUint32(whole.one + 236, true) + 96 : undefined;
  };
  const encoding = (code) => {
    const at = x86(code);
    return at && [view().getUint8(at + 10), view().getUint8(at + 457)];
  };

  const names = new Map([[0, ""]]);
  const register = (number) => {
    if (!names.has(number)) names.set(number, text(name(whole.handle, number)));
    return names.get(number);
  };
  const lists = malloc(258); // two lists of 64 numbers of 16 bits, and their lengths
  const accessed = () => {
    if (access(whole.handle, whole.one, lists, lists + 256, lists + 128, lists + 257)) return [[], []];
    const memory = view();
    const list = (at, length) => Array.from({ length }, (_, i) => register(memory.getUint16(at + 2 * i, true)));
    return [list(lists, memory.getUint8(lists + 256)), list(lists + 128, memory.getUint8(lists + 257))];
  };
  const operand = (at) => {
    const memory = view();
    const number = (offset) => memory.getUint32(at + offset, true);
    const kind = number(0);
    const names = [0, 0, 0, 0];
    if (kind === 1) names[0] = number(8);
    if (kind === 3) names.splice(1, 3, number(8), number(12), number(16));
    return [kind, Boolean(memory.getUint8(at + 33) & 1), ...names.map(register)];
  };
  const detail = (code) => {
    const at = x86(code);
    if (!at) return undefined;
    const memory = view();
    const groups = new Uint8Array(capstone.d.buffer, at - 13, memory.getUint8(at - 5));
    return [
      text(whole.one + 42),
      text(whole.one + 74),
      String(memory.getBigUint64(at + 56, true)),
      Array.from(groups),
      Array.from({ length: memory.getUint8(at + 64) }, (_, i) => operand(at + 72 + 48 * i)),
      ...accessed(),
    ];
  };
  return { lite, encoding, detail };
};
