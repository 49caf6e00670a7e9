package config

// Bounds of the key of the list of those who must not be contacted. A number has so
// few digits that a short key could be found by trying.
const (
	leastBlocksKey = 16
	mostBlocksKey  = 256
)

// checkBlocks checks the do_not_contact block.
func (d *decoder) checkBlocks(b *Blocks) {
	if n := len(b.Key); d.read("do_not_contact.key") && b.Key != "" && (n < leastBlocksKey || n > mostBlocksKey) {
		d.add("do_not_contact.key", "must have %d to %d characters", leastBlocksKey, mostBlocksKey)
	}
}
