#pragma once
#include <string>

#include "core/tensor.h"

namespace vitrine {

/// The tape behind `root` as one JSON document: {"nodes": [{id, op, module, attributes, outputs, saved_bytes, inputs:
/// [{node, index} | {leaf} | null]}], "root": id}, newest node first.
std::string tape_json(const Tensor& root);
/// The same as a Graphviz digraph, one cluster per module path; render with `dot -Tsvg`.
std::string tape_graphviz(const Tensor& root);

}  // namespace vitrine
