#include <nlohmann/json.hpp>

#include "apps/inspect/html.h"
#include "apps/inspect/page.h"

namespace vitrine::apps {
namespace {

using Json = nlohmann::ordered_json;

Json packed_json(const PackedRows& rows) { return {{"scales", base64(rows.scales)}, {"values", base64(rows.values)}}; }

/// The buckets by offset of query and key, from which the script makes the map of any query.
Json buckets_json(const Study& study) {
  Json tables = Json::array();
  if (!study.rpe) return tables;
  const auto& grid = study.grid;
  const auto& indices = ops::rpe_indices(*study.rpe, grid.height, grid.width, grid.skip, Device::cpu());
  for (size_t t = 0; t < indices.size(); ++t) {
    const std::vector<double> ids = indices[t].ids().to_vector();
    const int64_t n = grid.tokens();
    std::vector<int64_t> by_offset;
    for (int64_t dr = 1 - grid.height; dr < grid.height; ++dr)
      for (int64_t dc = 1 - grid.width; dc < grid.width; ++dc) {
        // Some pair with this offset: the query as far up and left as it allows.
        const int64_t qr = std::max<int64_t>(dr, 0), qc = std::max<int64_t>(dc, 0);
        const int64_t q = grid.skip + qr * grid.width + qc, k = grid.skip + (qr - dr) * grid.width + qc - dc;
        by_offset.push_back(int64_t(ids[size_t(q * n + k)]));
      }
    const bool product = study.rpe->method == ops::RpeMethod::product;
    tables.push_back({{"name", indices.size() == 1 ? ""
                               : t == 0            ? "rows"
                                                   : "columns"},
                      {"count", indices[t].buckets},
                      {"bound", product ? int64_t(2 * study.rpe->ratio) : 0},
                      {"ids", by_offset}});
  }
  return tables;
}

}  // namespace

std::string maps_json(const Page& page) {
  const Study& study = page.study;
  Json layers = Json::array();
  for (const AttentionStudy& a : study.attention) {
    Json layer{
        {"path", a.path}, {"heads", a.heads}, {"p", packed_json(a.probabilities)}, {"c", packed_json(a.content)}};
    if (!a.rpe.values.empty()) layer["r"] = packed_json(a.rpe);
    layers.push_back(layer);
  }
  const Json document{{"height", study.grid.height}, {"width", study.grid.width},      {"skip", study.grid.skip},
                      {"queries", study.queries},    {"buckets", buckets_json(study)}, {"layers", layers}};
  return document.dump(-1, ' ', false, Json::error_handler_t::replace);
}

std::string maps_section(const Page& page) {
  const Study& study = page.study;
  std::string html = "<section id=attention><h2>Attention</h2>\n";
  if (study.attention.empty())
    return html +
           "<p>No attention layer of this model works on the grid of image tokens, which the maps are of: its layers "
           "see windows, or coarser grids.</p></section>\n";
  const bool has_rpe = !study.attention[0].rpe.values.empty();
  html += format(
      "<p>The image is cut into {} × {} patches; each patch is a token, and {} come{} before them. Every head of every "
      "layer "
      "lets a token, the <em>query</em>, take a weighted mean over all tokens, the <em>keys</em>. Choose a query: a "
      "patch of "
      "the image (arrow keys move it), or an extra token. The maps show its weights.</p>\n",
      study.grid.height, study.grid.width,
      study.grid.skip == 1 ? "one extra token, the class token," : "two extra tokens, class and distillation,",
      study.grid.skip == 1 ? "s" : "");
  html +=
      "<p class=note>The maps are from a run of their own, in which attention keeps its steps (unfused). Each number "
      "is "
      "held in one byte, so it is exact to about 0.4 % of the largest of its row.";
  if (int64_t(study.queries.size()) < study.grid.tokens())
    html += format(
        " To keep this page small it holds {} of {} queries, evenly spread; a patch between them shows the nearest.",
        study.queries.size(), study.grid.tokens());
  html +=
      "</p>\n<noscript><p>The maps are drawn by the script in this page; it is switched off in this "
      "browser.</p></noscript>\n";
  html +=
      "<div class=viewer>\n<div><div id=picker tabindex=0 role=application aria-label=\"query patch\"><img alt=\"\" "
      "src=\"" +
      png_uri(page.seen) +
      "\"><i class=mark></i></div>\n<p id=extras></p><p id=query class=note></p></div>\n"
      "<div><h3 id=chosen></h3><div id=detail class=detail></div><p id=readout class=note>&nbsp;</p></div>\n</div>\n";
  html += "<div class=controls><label><input type=radio name=term value=p checked> attention weights</label>";
  if (has_rpe) html += " <label><input type=radio name=term value=r> relative position term of the logits</label>";
  html += " <label><input type=radio name=term value=c> content term of the logits</label></div>\n";
  return html + "<p id=legend class=note></p>\n<div class=scroll><div id=grid></div></div></section>\n";
}

}  // namespace vitrine::apps
