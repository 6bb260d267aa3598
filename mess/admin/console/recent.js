// The last events of a live tail. Bounded, in number and in what their bodies take.

const MOST = 500;
const MOST_CHARACTERS = 24 << 20;

export class Recent {
  constructor(most = MOST, characters = MOST_CHARACTERS) {
    this.most = most;
    this.limit = characters;
    /** Newest last: what an event was sent as, and what it is. */
    this.items = [];
    this.characters = 0;
    this.lost = 0;
    this.seen = 0;
  }

  /** Takes an event of the stream. @param {{type: string, data: string}} event */
  add({ type, data }, parse = JSON.parse) {
    const found = parse(data);
    if (type === "lost") {
      this.lost += found.count;
    } else if (type === "change") {
      this.seen += 1;
      this.items.push({ event: found, size: data.length });
      this.characters += data.length;
      while (this.items.length > this.most || (this.characters > this.limit && this.items.length > 1))
        this.characters -= this.items.shift().size;
    }
  }

  clear() {
    this.items = [];
    this.characters = 0;
    this.lost = 0;
    this.seen = 0;
  }
}
