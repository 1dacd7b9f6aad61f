#include <algorithm>
#include <cmath>

#include "apps/inspect/html.h"
#include "apps/inspect/page.h"

namespace vitrine::apps {
namespace {

using trace::Event;

/// "blocks.3" of "blocks.3.attn.qkv", "head" of "head".
std::string group_of(const std::string& path) {
  const size_t dot = path.find('.');
  if (dot == std::string::npos || dot + 1 == path.size() || !isdigit(uint8_t(path[dot + 1])))
    return path.substr(0, dot);
  return path.substr(0, path.find('.', dot + 1));
}

/// "[2, 3] f32 cpu, [3] f32 cpu, undefined" without what the page says once: "[2, 3], [3], –".
std::string short_shapes(std::string shapes, const std::string& usual) {
  const auto replace = [&](const std::string& what, const std::string& with) {
    for (size_t at = 0; (at = shapes.find(what, at)) != std::string::npos;) shapes.replace(at, what.size(), with);
  };
  replace(" " + usual, "");
  replace("undefined", "–");
  return shapes;
}

struct Group {
  std::string name;
  std::vector<const Event*> events;
  double us = 0;
  int64_t allocated = 0, saved = 0;
};

/// By module, in the order in which they first ran.
std::vector<Group> grouped(const std::vector<Event>& events) {
  std::vector<Group> groups;
  for (const Event& e : events) {
    const std::string name = group_of(e.module_path);
    auto at = std::find_if(groups.begin(), groups.end(), [&](const Group& g) { return g.name == name; });
    if (at == groups.end()) at = groups.insert(groups.end(), Group{.name = name, .events = {}});
    at->events.push_back(&e);
    at->us += e.duration_us, at->allocated += e.allocated_bytes, at->saved += e.saved_bytes;
  }
  return groups;
}

std::string cells(const std::vector<std::string>& html) {
  std::string row;
  for (const std::string& content : html) row += "<span>" + content + "</span>";
  return row;
}

std::string bytes_or_none(int64_t bytes) { return bytes > 0 ? bytes_text(bytes) : ""; }

std::string pass_table(const Page& page, bool forward) {
  const TapeStudy& tape = page.study.tape;
  const double wall_us = forward ? tape.forward_us : tape.backward_us;
  const std::vector<Group> groups = grouped(forward ? tape.forward : tape.backward);
  Group total;
  double slowest = 0, slowest_group = 0;
  size_t ops = 0;
  for (const Group& g : groups) {
    total.us += g.us, total.allocated += g.allocated, total.saved += g.saved;
    slowest_group = std::max(slowest_group, g.us);
    ops += g.events.size();
    for (const Event* e : g.events) slowest = std::max(slowest, e->duration_us);
  }
  std::string html = format("<h3>{}</h3>\n<p>{} ops in {}: {} inside of ops, {} between them; {} allocated",
                            forward ? "Forward" : "Backward", ops, time_text(wall_us), time_text(total.us),
                            time_text(std::max(0.0, wall_us - total.us)), bytes_text(total.allocated));
  if (forward) html += format(", {} saved for backward", bytes_text(total.saved));
  html += ".</p>\n<div class=scroll><div class=tape>\n<div class=\"row head\">" +
          cells({"op", "module", forward ? "inputs" : "gradients of the outputs", "attributes", "time", "", "allocated",
                 forward ? "saved" : ""}) +
          "</div>\n";
  for (const Group& g : groups) {
    html +=
        "<details><summary class=row>" +
        cells({html_text(g.name.empty() ? "(outside of modules)" : g.name), "", format("{} ops", g.events.size()), "",
               time_text(g.us), bar(g.us / slowest_group), bytes_or_none(g.allocated), bytes_or_none(g.saved)}) +
        "</summary>\n";
    for (const Event* e : g.events) {
      const std::string inner = e->module_path.size() > g.name.size() ? e->module_path.substr(g.name.size() + 1) : "";
      html += "<div class=row>" +
              cells({html_text(e->name), html_text(inner), html_text(short_shapes(e->shapes, page.dtype_and_device)),
                     html_text(e->attributes), time_text(e->duration_us), bar(e->duration_us / slowest),
                     bytes_or_none(e->allocated_bytes), bytes_or_none(e->saved_bytes)}) +
              "</div>\n";
    }
    html += "</details>\n";
  }
  return html + "</div></div>\n";
}

std::string memory_plot(const TapeStudy& tape) {
  constexpr double kWidth = 960, kHeight = 190, kLeft = 76, kRight = 16, kTop = 14, kBottom = 34;
  const double total = tape.forward_us + tape.backward_us;
  int64_t most = tape.start_bytes;
  for (const auto& p : tape.memory) most = std::max(most, p.live_bytes);
  const double span = std::max<double>(1, double(most - tape.start_bytes));
  const auto x = [&](double us) { return kLeft + (kWidth - kLeft - kRight) * us / total; };
  const auto y = [&](double bytes) { return kTop + (kHeight - kTop - kBottom) * (1 - bytes / span); };
  const auto at = [](double v) {
    char text[32];
    snprintf(text, sizeof text, "%.1f", v);
    return std::string(text);
  };
  std::string line;
  for (const auto& p : tape.memory)
    line += (line.empty() ? "M" : "L") + at(x(p.us)) + " " + at(y(double(p.live_bytes - tape.start_bytes)));
  std::string svg = format("<svg class=memory viewBox=\"0 0 {} {}\" role=img aria-label=\"memory over time\">\n",
                           at(kWidth), at(kHeight));
  for (const double part : {0.0, 0.5, 1.0})
    svg += format("<path class=rule d=\"M{} {}H{}\"/><text x={} y={} text-anchor=end>{}</text>\n", at(kLeft),
                  at(y(part * span)), at(kWidth - kRight), at(kLeft - 8), at(y(part * span) + 4),
                  bytes_text(int64_t(part * span)));
  const std::string base = at(y(0));
  svg += format("<path class=area d=\"{}L{} {}L{} {}Z\"/><path class=line d=\"{}\"/>\n", line,
                at(x(tape.memory.back().us)), base, at(x(0)), base, line);
  svg += format("<path class=turn d=\"M{} {}V{}\"/>\n", at(x(tape.forward_us)), at(kTop), base);
  const std::string below = at(kHeight - 12);
  svg += format(
      "<text x={} y={} text-anchor=middle>forward, {}</text><text x={} y={} text-anchor=middle>backward, {}</text>\n",
      at(x(tape.forward_us / 2)), below, time_text(tape.forward_us), at(x(tape.forward_us + tape.backward_us / 2)),
      below, time_text(tape.backward_us));
  return svg + "</svg>\n";
}

}  // namespace

std::string tape_section(const Page& page) {
  const TapeStudy& tape = page.study.tape;
  std::string html =
      "<section id=tape><h2>The tape</h2>\n<p>Every op of one pass forward, and of backward from the best class's "
      "logit to "
      "every parameter. Times are of an ordinary run, with fused attention and nobody watching: the fastest of five "
      "after a "
      "warm-up.";
  if (!page.dtype_and_device.ends_with("cpu"))
    html +=
        " On this device an op's time is that of its launch, unless VITRINE_SYNC=1 is set; the totals include the "
        "work.";
  html += format(
      " Shapes are of {} where nothing else is said; – is an argument left out. A module opens to its ops.</p>\n",
      html_text(page.dtype_and_device));
  html += format(
      "<h3>Memory over time</h3>\n<p>Bytes live beside the {} that are there before it (weights, image, and what "
      "the program holds), at the end of each module and again when backward passes it. The peak, also within ops, is "
      "{} above that.</p>\n",
      bytes_text(tape.start_bytes), bytes_text(tape.peak_bytes - tape.start_bytes));
  html += memory_plot(tape);
  html +=
      "<p class=controls><button type=button id=open>open all</button> <button type=button id=close>close "
      "all</button></p>\n";
  html += pass_table(page, true);
  html += pass_table(page, false);
  return html + "</section>\n";
}

}  // namespace vitrine::apps
