"""Published test corpora: others' data, each in a folder with its licence and origin."""
