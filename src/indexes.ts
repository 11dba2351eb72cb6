/**
 * Pure: the package sources a user has set for pip, said in uv's words. Mirrors, local wheels and
 * certificates then work in the set-up as they do for pip. What is set for uv itself wins.
 */
type Environment = { [name: string]: string | undefined };

const words = (text: string) => text.split(/[\s,]+/).filter(Boolean);

/** "global.index-url='…'" lines of `pip config list` as PIP_* variables; later sections win, as in pip. */
export function readPipConfig(listing: string): Environment {
  const found: Environment = {};
  for (const section of ['global', 'install']) {
    for (const line of listing.split('\n')) {
      const match = /^([\w:]+)\.([\w-]+)='(.*)'$/.exec(line.trim());
      if (match?.[1] !== section) continue;
      const name = `PIP_${match[2]!.toUpperCase().replaceAll('-', '_')}`;
      found[name] = match[3]!.replaceAll('\\n', ' ').trim();
    }
  }
  return found;
}

/** The variables to add to uv's environment. `exists` tells whether a local find-links folder is there. */
export function translatePipSettings(
  env: Environment,
  pipConfig: Environment,
  exists: (path: string) => boolean,
): { [name: string]: string } {
  const pip = (name: string) => env[name] || pipConfig[name];
  const result: { [name: string]: string } = {};
  const set = (name: string, value: string | undefined, ...alsoKnownAs: string[]) => {
    if (value && ![name, ...alsoKnownAs].some((known) => env[known])) result[name] = value;
  };
  set('UV_DEFAULT_INDEX', pip('PIP_INDEX_URL'), 'UV_INDEX_URL');
  set('UV_INDEX', words(pip('PIP_EXTRA_INDEX_URL') ?? '').join(' '), 'UV_EXTRA_INDEX_URL');
  // pip ignores a find-links folder that is not there; uv stops
  set(
    'UV_FIND_LINKS',
    words(pip('PIP_FIND_LINKS') ?? '')
      .filter((link) => /^[a-z]+:\/\//.test(link) || exists(link))
      .join(','),
  );
  set('UV_NO_INDEX', ['1', 'true', 'yes', 'on'].includes((pip('PIP_NO_INDEX') ?? '').toLowerCase()) ? '1' : undefined);
  set('SSL_CERT_FILE', pip('PIP_CERT'));
  set('UV_INSECURE_HOST', words(pip('PIP_TRUSTED_HOST') ?? '').join(' '));
  set('UV_HTTP_TIMEOUT', pip('PIP_DEFAULT_TIMEOUT') ?? pip('PIP_TIMEOUT'));
  set('HTTPS_PROXY', pip('PIP_PROXY'), 'https_proxy', 'ALL_PROXY', 'all_proxy');
  return result;
}
