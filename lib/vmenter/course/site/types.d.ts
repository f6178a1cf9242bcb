// What the site's scripts are checked against. Nothing of it is run.

/** What a view's own module gives: it draws itself over a model. */
interface SiteView {
  render(where: { model: SiteModel; el: HTMLElement; host: SiteHost }): () => void;
}

/** anywidget's model without a kernel: `take` is what Python would send. */
interface SiteModel extends Model {
  take(changes: Record<string, Part>): void;
  send(content: { open?: Part; shut?: boolean }): void;
}

interface SiteHost {
  getWidget(name: string): Promise<{ render(where: { el: HTMLElement; signal: AbortSignal }): void }>;
}

/** What the site's scripts share: views' modules and frames are files of their own, and put themselves in. */
interface Site {
  views: Record<string, SiteView>;
  /** By kind of view, and of the search: JSON, gzipped, in base64. */
  packed: Record<string, string>;
  /** By the id of a view's place, and of views that are open inside others. */
  models: Record<string, SiteModel>;
  /** Unpack what is packed. */
  read(kind: string): Promise<Part>;
}
