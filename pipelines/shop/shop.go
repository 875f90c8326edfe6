// Package shop holds the example files of a web shop: shop.sql creates the tables, shop.yaml maps
// them, and shop.compose.yaml is the same mapping with the addresses of compose.yaml's network.
// `rowfall demo` runs shop.yaml; compose.yaml mounts the two others.
package shop

import _ "embed"

// Path is where File lies in the repository, for messages.
const Path = "pipelines/shop/shop.yaml"

// File is the content of shop.yaml.
//
//go:embed shop.yaml
var File []byte
