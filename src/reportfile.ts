/** The file of --report: whole and valid at any moment, written again whenever there is more to say. */
import { rename, rm, writeFile } from 'node:fs/promises';

export class ReportFile {
  private readonly path: string;
  private latest: string | null = null;
  private writing: Promise<void> | null = null;

  constructor(path: string) {
    this.path = path;
  }

  /** Resolves when this content, or newer, is in place. Writes that follow faster than the disk are skipped. */
  write(content: string): Promise<void> {
    this.latest = content;
    this.writing ??= this.drain().finally(() => {
      this.writing = null;
    });
    return this.writing;
  }

  private async drain(): Promise<void> {
    const partial = `${this.path}.${process.pid}.partial`;
    try {
      for (let content = this.latest; content !== null; content = this.latest) {
        this.latest = null;
        await writeFile(partial, content);
        await rename(partial, this.path);
      }
    } catch (error) {
      await rm(partial, { force: true });
      throw error;
    }
  }
}
