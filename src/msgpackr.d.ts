/** The no-eval build ships no types of its own; it has the API of the package's main entry. */
declare module 'msgpackr/index-no-eval' {
  export * from 'msgpackr';
}
