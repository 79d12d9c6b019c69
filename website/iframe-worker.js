// Browsers start no Worker for a page that is read from a disk: there the search runs in a frame.
if (location.protocol === "file:") {
  window.Worker = class extends EventTarget {
    constructor(url) {
      super()
      this.waiting = []
      this.frame = document.createElement("iframe")
      this.frame.hidden = true
      this.frame.srcdoc = "<!doctype html>"
      this.frame.onload = () => {
        const inside = this.frame.contentWindow
        inside.postMessage = data => this.dispatchEvent(new MessageEvent("message", { data }))
        const script = inside.document.createElement("script")
        script.src = new URL(url, location)
        script.onload = () => {
          this.postMessage = data => inside.dispatchEvent(new inside.MessageEvent("message", { data }))
          this.waiting.forEach(data => this.postMessage(data))
        }
        inside.document.head.append(script)
      }
      document.body.append(this.frame)
    }
    postMessage(data) { this.waiting.push(data) }
  }
}
