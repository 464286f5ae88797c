"""What runs in the browser: a sheet to draw on, and the camera of whoever sits before the screen.

Lines appear under the pen at once, wherever the kernel is, and a frame is sent only when the one before it has been
answered. Both are anywidgets: a little JavaScript here, and values that both sides see.
"""

import anywidget
import traitlets

Point = tuple[float, float]
Stroke = list[Point]  # from (0, 0) at the top left to (1, 1)

_SHEET = """
function render({ model, el }) {
  const size = model.get("size");
  const canvas = document.createElement("canvas");
  canvas.width = canvas.height = size;
  canvas.tabIndex = 0;
  canvas.setAttribute("role", "img");
  canvas.setAttribute("aria-label", model.get("label"));
  Object.assign(canvas.style, { border: "1px solid #888", background: "#000", cursor: "crosshair", touchAction: "none",
                                display: "block" });
  const pen = canvas.getContext("2d");
  let strokes = [], current = null, sent = 0;
  function paint() {
    pen.fillStyle = "#000";
    pen.fillRect(0, 0, size, size);
    pen.strokeStyle = "#fff";
    pen.lineWidth = size * model.get("width");
    pen.lineCap = pen.lineJoin = "round";
    for (const stroke of current ? [...strokes, current] : strokes) {
      pen.beginPath();
      for (const [x, y] of stroke) pen.lineTo(x * size, y * size);
      if (stroke.length === 1) pen.lineTo(stroke[0][0] * size + 0.1, stroke[0][1] * size);
      pen.stroke();
    }
  }
  function tell() {
    sent = Date.now();
    model.set("strokes", current ? [...strokes, current] : [...strokes]);
    model.save_changes();
  }
  function place(event) {
    const box = canvas.getBoundingClientRect();
    const share = (value) => Math.min(1, Math.max(0, Math.round(1000 * value) / 1000));
    return [share((event.clientX - box.left) / box.width), share((event.clientY - box.top) / box.height)];
  }
  canvas.addEventListener("pointerdown", (event) => {
    canvas.setPointerCapture(event.pointerId);
    current = [place(event)];
    paint();
    event.preventDefault();
  });
  canvas.addEventListener("pointermove", (event) => {
    if (!current) return;
    current.push(place(event));
    paint();
    if (Date.now() - sent > 200) tell();
  });
  function lift() {
    if (!current) return;
    strokes.push(current);
    current = null;
    tell();
  }
  canvas.addEventListener("pointerup", lift);
  canvas.addEventListener("pointercancel", lift);
  function button(text, action) {
    const one = document.createElement("button");
    one.textContent = text;
    one.className = "jupyter-button";
    Object.assign(one.style, { marginRight: "6px", marginTop: "4px", padding: "2px 10px" });
    one.addEventListener("click", () => { action(); paint(); tell(); });
    return one;
  }
  const buttons = document.createElement("div");
  buttons.append(button("clear", () => { strokes = []; }), button("undo", () => { strokes.pop(); }));
  function follow() {
    if (current) return;
    strokes = model.get("strokes").map((stroke) => [...stroke]);
    paint();
  }
  model.on("change:strokes", follow);
  follow();
  el.append(canvas, buttons);
  return () => model.off("change:strokes", follow);
}
export default { render };
"""

_CAMERA = """
function render({ model, el }) {
  const video = document.createElement("video");
  video.playsInline = video.muted = true;
  Object.assign(video.style, { width: "200px", display: "none", transform: "scaleX(-1)" });
  const canvas = document.createElement("canvas");
  const button = document.createElement("button");
  button.className = "jupyter-button";
  Object.assign(button.style, { padding: "2px 10px" });
  const words = document.createElement("span");
  words.style.marginLeft = "8px";
  let stream = null, timer = null;
  function say(state) {
    model.set("state", state);
    model.save_changes();
    words.textContent = state;
    button.textContent = stream ? "stop the camera" : "use the camera";
  }
  function stop(state = "off") {
    if (stream) stream.getTracks().forEach((track) => track.stop());
    stream = null;
    clearTimeout(timer);
    video.style.display = "none";
    say(state);
  }
  function send() {
    if (!stream) return;
    const [width, height] = model.get("shape");
    canvas.width = width;
    canvas.height = height;
    canvas.getContext("2d").drawImage(video, 0, 0, width, height);
    canvas.toBlob(async (blob) => {
      if (!stream || !blob) return;
      model.set("frame", new DataView(await blob.arrayBuffer()));
      model.save_changes();
    }, "image/jpeg", 0.9);
  }
  async function start() {
    if (!navigator.mediaDevices) return stop("no camera here: the page must come from this machine or by https");
    try {
      stream = await navigator.mediaDevices.getUserMedia({ video: { width: 640, height: 480 } });
      video.srcObject = stream;
      await video.play();
      video.style.display = "block";
      say("on");
      send();
    } catch (error) {
      stop("no camera here: " + error.message);
    }
  }
  function answered() {
    clearTimeout(timer);
    timer = setTimeout(send, model.get("pause"));
  }
  button.addEventListener("click", () => (stream ? stop() : start()));
  model.on("change:answered", answered);
  say("off");
  el.append(button, words, video);
  return () => { model.off("change:answered", answered); stop(); };
}
export default { render };
"""


class Sheet(anywidget.AnyWidget):
    """A black sheet to draw white lines on, with mouse, pen or finger.

    Attributes
    ----------
    strokes : list of strokes
        Each a list of points from (0, 0) at the top left to (1, 1), in the order in which they were drawn; sent five
        times a second while a line is being drawn. Set it, and the sheet shows it.
    size : int
        Pixels a side.
    width : float
        Of a line, as a share of the side.
    label : str
        What a screen reader says.

    Examples
    --------
    >>> sheet = Sheet(strokes=[[(0.2, 0.2), (0.8, 0.2), (0.4, 0.9)]])
    >>> len(sheet.strokes[0])
    3
    """

    _esm = _SHEET
    strokes: traitlets.List = traitlets.List().tag(sync=True)
    size = traitlets.Int(224).tag(sync=True)
    width = traitlets.Float(0.07).tag(sync=True)
    label = traitlets.Unicode("A sheet to draw on").tag(sync=True)


class Camera(anywidget.AnyWidget):
    """The browser's camera, off until its button is pressed; frames go to the kernel and nowhere else.

    Attributes
    ----------
    frame : bytes
        The last frame, a JPEG.
    answered : int
        Whoever has dealt with a frame counts it up; only then the next one is sent.
    shape : tuple of int
        Width and height of a frame, in pixels.
    pause : int
        Milliseconds between an answer and the next frame.
    state : str
        ``"off"``, ``"on"``, or ``"no camera here: "`` and why.
    """

    _esm = _CAMERA
    # A browser's bytes arrive as a memoryview; and there is no need to send them back.
    frame = traitlets.Bytes(b"").tag(sync=True, echo_update=False, from_json=lambda value, _: bytes(value))
    answered = traitlets.Int(0).tag(sync=True)
    shape = traitlets.Tuple(traitlets.Int(), traitlets.Int(), default_value=(160, 120)).tag(sync=True)
    pause = traitlets.Int(30).tag(sync=True)
    state = traitlets.Unicode("off").tag(sync=True)
