/** HTML as text: what is interpolated is escaped, unless it is markup itself. Pure. */

/** Text that is HTML already. */
export class Markup {
  constructor(readonly text: string) {}
  toString(): string {
    return this.text;
  }
}

type Content = Markup | string | number | null | Content[];

const ENTITIES: { [character: string]: string } = { '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;', "'": '&#39;' };

export const escapeHtml = (text: string): string => text.replace(/[&<>"']/g, (character) => ENTITIES[character] as string);

const render = (content: Content): string => {
  if (content === null) return '';
  if (Array.isArray(content)) return content.map(render).join('');
  return content instanceof Markup ? content.text : escapeHtml(String(content));
};

/** Attributes need their quotation marks in the template; null is nothing, a list its members one after the other. */
export const html = (parts: TemplateStringsArray, ...contents: Content[]): Markup =>
  new Markup(parts.reduce((text, part, index) => text + render(contents[index - 1] ?? null) + part));
