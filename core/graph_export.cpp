#include "core/graph_export.h"

#include <algorithm>
#include <map>
#include <sstream>
#include <unordered_set>

#include "core/autograd.h"
#include "core/files.h"

namespace vitrine {
namespace {

std::vector<const Node*> nodes_behind(const Tensor& root) {
  std::vector<const Node*> found;
  std::unordered_set<const Node*> seen;
  if (root.node()) found.push_back(root.node().get());
  for (size_t i = 0; i < found.size(); ++i) {
    for (const Edge& edge : found[i]->edges)
      if (edge.node && seen.insert(edge.node.get()).second) found.push_back(edge.node.get());
  }
  std::sort(found.begin(), found.end(), [](auto* a, auto* b) { return a->sequence > b->sequence; });
  return found;
}

std::string describe(const OutputInfo& o) { return format("{} {} {}", o.shape, o.options.dtype, o.options.device); }

std::string describe_outputs(const Node& node) {
  std::string s;
  for (const auto& o : node.outputs) s += (s.empty() ? "" : ", ") + describe(o);
  return s;
}

std::string describe_attributes(const Node& node) {
  std::string s;
  for (const auto& [name, value] : node.attributes()) s += (s.empty() ? "" : ", ") + name + "=" + to_string(value);
  return s;
}

int64_t saved_bytes(const Node& node) {
  int64_t bytes = 0;
  for (const auto& s : node.saved)
    if (s.tensor.defined()) bytes += s.tensor.numel() * size_of(s.tensor.dtype());
  return bytes;
}

std::string edge_json(const Edge& edge) {
  if (edge.node) return format("{\"node\": {}, \"index\": {}}", edge.node->sequence, edge.index);
  if (edge.leaf.defined()) return "{\"leaf\": " + json_text(to_string(edge.leaf)) + "}";
  return "null";
}

}  // namespace

std::string tape_json(const Tensor& root) {
  std::ostringstream out;
  out << "{\"nodes\": [";
  const char* separator = "\n";
  for (const Node* node : nodes_behind(root)) {
    out << separator << "{\"id\": " << node->sequence << ", \"op\": " << json_text(node->name())
        << ", \"module\": " << json_text(node->module_path)
        << ", \"attributes\": " << json_text(describe_attributes(*node))
        << ", \"outputs\": " << json_text(describe_outputs(*node)) << ", \"saved_bytes\": " << saved_bytes(*node)
        << ", \"inputs\": [";
    for (size_t i = 0; i < node->edges.size(); ++i) out << (i ? ", " : "") << edge_json(node->edges[i]);
    out << "]}";
    separator = ",\n";
  }
  out << "\n], \"root\": " << (root.node() ? std::to_string(root.node()->sequence) : "null") << "}\n";
  return out.str();
}

std::string tape_graphviz(const Tensor& root) {
  std::map<std::string, std::vector<const Node*>> by_module;
  std::map<const void*, Tensor> leaves;
  std::ostringstream edges, out;
  for (const Node* node : nodes_behind(root)) {
    by_module[node->module_path].push_back(node);
    for (const Edge& edge : node->edges) {
      if (edge.node) edges << "  n" << edge.node->sequence << " -> n" << node->sequence << ";\n";
      if (!edge.leaf.defined()) continue;
      leaves.emplace(edge.leaf.state().get(), edge.leaf);
      edges << "  \"leaf " << edge.leaf.state().get() << "\" -> n" << node->sequence << ";\n";
    }
  }
  out << "digraph tape {\n  node [shape=box, fontname=\"sans-serif\", fontsize=10];\n";
  int cluster = 0;
  for (const auto& [module, nodes] : by_module) {
    if (!module.empty()) out << "  subgraph cluster_" << cluster++ << " {\n  label=" << json_text(module) << ";\n";
    for (const Node* node : nodes)
      out << "  n" << node->sequence << " [label="
          << json_text(std::string(node->name()) + "  " + describe_attributes(*node) + "  " + describe_outputs(*node))
          << "];\n";
    if (!module.empty()) out << "  }\n";
  }
  for (const auto& [id, leaf] : leaves)
    out << "  \"leaf " << id << "\" [style=filled, fillcolor=lightgrey, label=" << json_text(to_string(leaf)) << "];\n";
  out << edges.str() << "}\n";
  return out.str();
}

}  // namespace vitrine
