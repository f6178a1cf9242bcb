// What the views' JavaScript is checked against. Nothing of it is run.

/** Whatever a part of a view is made of: its own code knows what. */
type Part = any;

/** What a view needs of its model. anywidget gives it, and so does a page without a kernel. */
interface Model {
  get(name: string): Part;
  set(name: string, value: Part): void;
  save_changes(): void;
  on(event: string, hear: () => void): void;
  off?(event: string, hear: () => void): void;
  /** Ask Python for something. Only views that open others do. */
  send?(content: object): void;
}

/** A view that can be drawn at a place of the page, until the signal is given. */
interface Inner {
  render(where: { el: HTMLElement; signal: AbortSignal }): unknown;
}

/** Who knows the other widgets. */
interface Host {
  getWidget(reference: string): Promise<Inner>;
}

interface View {
  model: Model;
  el: HTMLElement;
  host?: Host;
}

/** What stands in a frame of every view. `mistake` and `wrong` are there while the last state could not be shown. */
interface Told {
  said?: string;
  text: string[];
  mistake?: string;
  wrong?: string[];
}
