/** What every page is wrapped in: it needs nothing but itself, and a browser is told so. */
import { html, Markup } from './pagemarkup.js';
import { STYLE } from './pagestyle.js';

const POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:";

export const renderDocument = (title: string, body: Markup): string =>
  html`<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="${new Markup(POLICY)}">
<title>${title}</title>
<style>${new Markup(STYLE)}</style>
</head>
<body>
${body}
</body>
</html>
`.text;
