// GNU as, made of its compiled module: a fresh instance for each text. Returns [status, object, messages].
(glue, module, files, most) => {
  const EFBIG = 22; // as WASI numbers it
  // Emscripten's shell would take these for its own; a page's `print` opens a dialogue.
  const make = new Function("print", "printErr", "quit", `${glue}; return makeAs;`)();
  return (text) => {
    const lines = [];
    let at = 0;
    let status = 0;
    const options = {
      thisProgram: "as",
      noExitRuntime: false,
      stdin: () => (at < text.length ? text[at++] : null),
      print() {},
      printErr: (line) => lines.push(line),
      quit(code, thrown) {
        status = code;
        throw thrown;
      },
      instantiateWasm(imports, ready) {
        const made = new WebAssembly.Instance(module, imports);
        ready(made, module);
        return made.exports;
      },
    };
    make(options).catch?.(() => {});
    const { FS } = options;
    const write = FS.write;
    FS.write = (stream, buffer, from, length, position) => {
      if ((position ?? stream.position) + length > most) throw new FS.ErrnoError(EFBIG);
      return write(stream, buffer, from, length, position);
    };
    FS.mkdir("/lab");
    for (const [name, content] of Object.entries(files)) FS.writeFile(`/lab/${name}`, content);
    FS.chdir("/lab");
    try {
      status = options.callMain(["--64", "-mx86-used-note=no", "-", "-o", "/object"]) ?? status;
    } catch (error) {
      if (error?.name !== "ExitStatus") {
        status = -1; // out of memory, or a crash
        lines.push(String(error));
      }
    }
    const { exists } = FS.analyzePath("/object");
    return [status, exists ? FS.readFile("/object") : undefined, lines.join("\n")];
  };
};
