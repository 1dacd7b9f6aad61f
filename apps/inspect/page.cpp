#include "apps/inspect/page.h"

#include <algorithm>
#include <cmath>

#include "apps/cli.h"
#include "apps/inspect/html.h"

namespace vitrine::apps {
namespace {

constexpr int64_t kLargestPicture = 640;

/// The picture with its longer side brought down to kLargestPicture.
data::Image for_page(const data::Image& image) {
  const int64_t longer = std::max(image.height, image.width);
  if (longer <= kLargestPicture) return image;
  const auto scaled = [&](int64_t side) { return std::max<int64_t>(1, side * kLargestPicture / longer); };
  return data::resize_image(image, scaled(image.height), scaled(image.width));
}

std::string figure(const data::Image& image, const std::string& caption) {
  return format("<figure><img class=picture alt=\"\" src=\"{}\"><figcaption>{}</figcaption></figure>\n", png_uri(image),
                caption);
}

}  // namespace

std::string header_section(const Page& page) {
  const data::Image shown = for_page(page.given);
  std::string html = "<header><h1>" + html_text(page.spec.model) + "</h1>\n<p class=lead>One image, " +
                     html_text(page.image_file) + ", on its way through " + html_text(page.checkpoint) +
                     ".</p>\n<div class=intro>\n<div class=pictures>\n";
  html += figure(shown, format("as given: {} × {} pixels{}", page.given.width, page.given.height,
                               shown.width == page.given.width ? "" : ", shown smaller"));
  html += figure(page.seen, format("as the model sees it: {} × {}{}", page.seen.width, page.seen.height,
                                   page.spec.preprocessing.grey ? ", grey" : ""));
  html += "</div>\n<div><h2>What the model says</h2>\n<table class=guesses>\n";
  for (const Guess& g : page.study.top)
    html += table_row({html_text(page.spec.labels[size_t(g.index)]), bar(g.probability), percent_text(g.probability)});
  html += "</table>\n<p class=note>Probabilities: softmax of the logits, the best five.</p></div>\n<dl class=facts>\n";
  for (const auto& [name, value] : page.facts)
    html += format("<dt>{}</dt><dd>{}</dd>\n", html_text(name), html_text(value));
  return html + "</dl>\n</div></header>\n";
}

std::string share_section(const Page& page) {
  std::string html = "<section id=share><h2>How much of the logits is relative position</h2>\n";
  const auto& layers = page.study.attention;
  if (layers.empty())
    return html +
           "<p>Not measured: no attention layer of this model works on the grid of image tokens.</p></section>\n";
  if (!page.study.rpe)
    return html +
           "<p>This model has no relative position encoding: its attention logits are content alone.</p></section>\n";
  if (layers[0].share.empty())
    return html +
           "<p>The encoding is on values: it adds to the output of attention, and nothing to its "
           "logits.</p></section>\n";
  html +=
      "<p>An attention logit is a sum: content (query times key) and relative position (query or key times the vector "
      "of "
      "the pair's bucket, or the bucket's bias). The table gives, for each layer and head, over all pairs of a query "
      "<var>i</var> and a key <var>j</var>,</p>\n"
      "<p class=formula>Σ |rpe<sub>ij</sub>| / Σ ( |content<sub>ij</sub>| + |rpe<sub>ij</sub>| )</p>\n";
  if (page.study.rpe->on_v)
    html += "<p class=note>The encoding on values adds to the output, not to the logits; it is not counted here.</p>\n";
  size_t heads = 0;
  for (const auto& layer : layers) heads = std::max(heads, layer.share.size());
  std::vector<std::string> head_row{"layer"};
  for (size_t h = 0; h < heads; ++h) head_row.push_back(format("head {}", h));
  head_row.emplace_back("mean");
  html += "<div class=scroll><table class=heat>\n" + table_row(head_row, "th");
  for (size_t l = 0; l < layers.size(); ++l) {
    html += "<tr><th>" + html_text(layers[l].path) + "</th>";
    double mean = 0;
    for (size_t h = 0; h < layers[l].share.size(); ++h) {
      const double share = layers[l].share[h];
      mean += share / double(layers[l].share.size());
      html += format("<td data-l={} data-h={} style=\"--x:{}\">{}</td>", l, h, number_text(share), percent_text(share));
    }
    html += format("<td class=mean>{}</td></tr>\n", percent_text(mean));
  }
  html += "</table></div>\n<p class=note>A cell chooses its layer and head in the maps above.";
  // Its patches' queries get no gradient: a table that began at zero stays there but for the bucket of the extra
  // tokens.
  if (page.study.grid.skip > 0)
    html += " What leaves the last block is read at the extra tokens alone, so training moves little of its encoding.";
  return html + "</p></section>\n";
}

std::string values_section(const Page& page) {
  std::string html = "<section><h2>Activations and gradients</h2>\n";
  if (!page.study.streams.empty()) {
    html +=
        "<h3>The residual stream</h3>\n<p>What the blocks add to, token by token: all its values at the entry of each "
        "block's two halves.</p>\n<div class=scroll><table class=figures>\n" +
        table_row({"block", "place", "mean", "std", "", "largest magnitude"}, "th");
    double widest = 0;
    for (const StreamRow& row : page.study.streams) widest = std::max(widest, row.std);
    for (const StreamRow& row : page.study.streams)
      html += table_row({html_text(row.path), row.place, number_text(row.mean), number_text(row.std),
                         bar(row.std / widest), number_text(row.largest)});
    html += "</table></div>\n";
  }
  html +=
      "<h3>Gradients of the parameters</h3>\n<p>Of the best class's logit, by the Euclidean norm; a group's is that of "
      "all its parameters together.</p>\n<div class=scroll><table class=figures>\n" +
      table_row({"group", "parameters", "norm", "gradient norm", ""}, "th");
  struct Group {
    std::string name, rows;
    int64_t count = 0;
    double norm = 0, gradient = 0;
  };
  std::vector<Group> groups;
  for (const ParameterRow& p : page.study.parameters) {
    const size_t dot = p.name.find('.');
    std::string name = p.name.substr(0, dot);
    if (dot != std::string::npos && dot + 1 < p.name.size() && isdigit(uint8_t(p.name[dot + 1])))
      name = p.name.substr(0, p.name.find('.', dot + 1));
    if (groups.empty() || groups.back().name != name) groups.push_back({.name = name, .rows = ""});
    Group& g = groups.back();
    g.count += p.shape.numel();
    g.norm = std::hypot(g.norm, p.norm), g.gradient = std::hypot(g.gradient, p.gradient_norm);
    g.rows += table_row(
        {html_text(p.name), html_text(to_string(p.shape)), number_text(p.norm), number_text(p.gradient_norm)});
  }
  double largest = 0;
  for (const Group& g : groups) largest = std::max(largest, g.gradient);
  std::string all;
  for (const Group& g : groups) {
    html += table_row({html_text(g.name), std::to_string(g.count), number_text(g.norm), number_text(g.gradient),
                       bar(g.gradient / largest)});
    all += g.rows;
  }
  return html + "</table></div>\n<details><summary>Every parameter</summary><div class=scroll><table class=figures>\n" +
         table_row({"parameter", "shape", "norm", "gradient norm"}, "th") + all +
         "</table></div></details></section>\n";
}

std::string inspect_page(const Page& page) {
  std::string html =
      "<!DOCTYPE html>\n<html lang=en><head><meta charset=utf-8>\n"
      "<meta name=viewport content=\"width=device-width, initial-scale=1\">\n"
      // The browser itself refuses anything from outside.
      "<meta http-equiv=Content-Security-Policy content=\"default-src 'none'; img-src data:; style-src "
      "'unsafe-inline'; "
      "script-src 'unsafe-inline'\">\n<title>" +
      html_text(page.spec.model + ": " + page.image_file) + "</title>\n<style>" + kPageStyle +
      "</style></head><body>\n";
  html += header_section(page) + maps_section(page) + share_section(page) + tape_section(page) + values_section(page);
  html += "<footer>Made by vitrine inspect. This page is complete in itself and asks nothing of a network.</footer>\n";
  html += "<script type=\"application/json\" id=maps-data>" + script_json(maps_json(page)) + "</script>\n";
  return html + "<script>" + kPageScript + "</script>\n</body></html>\n";
}

}  // namespace vitrine::apps
