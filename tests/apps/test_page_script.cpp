#include <cmath>
#include <optional>
#include <regex>
#include <set>

#include "tests/apps/inspected.h"

using namespace vitrine;
using namespace vitrine::testing;
using nlohmann::json;
using vitrine::testing::Contains;

namespace {

/// Before the page's own script: takes down its errors.
constexpr const char* kBefore = "<script>const errors = []; onerror = message => { errors.push(message); };</script>";

/// After it: uses the page as a reader would, and leaves what it shows in an element `driven`.
constexpr const char* kAfter = R"html(<pre id=driven></pre><script>(() => {
  const all = s => [...document.querySelectorAll(s)], text = id => document.getElementById(id).textContent;
  const pixels = map => [...map.querySelector('canvas').getContext('2d').getImageData(0, 0, 3, 3).data];
  const out = {maps: all('#grid .map').map(m => ({l: +m.dataset.l, h: +m.dataset.h, pixels: pixels(m)}))};
  if (out.maps.length) {
    out.start = [text('query'), text('chosen'), text('legend')];
    document.getElementById('picker').dispatchEvent(new KeyboardEvent('keydown', {key: 'ArrowRight'}));
    const heat = document.querySelector('.heat td[data-l="3"][data-h="0"]');
    if (heat) heat.click(), out.heat = text('chosen');
    document.querySelector('#grid .map[data-l="2"][data-h="1"]').click();
    const radio = document.querySelector('input[value=c]');
    radio.checked = true, radio.dispatchEvent(new Event('change'));
    const map = document.querySelector('#detail .map'), area = map.getBoundingClientRect();
    map.dispatchEvent(new PointerEvent('pointermove', {bubbles: true, clientX: area.left + area.width * 5 / 6, clientY: area.top + area.height / 6}));
    out.end = [text('query'), text('chosen'), text('legend')], out.readout = text('readout'), out.hash = location.hash.split('&');
    out.figures = all('#detail figure b').map(b => b.textContent);
  }
  document.getElementById('open').click();
  out.open = [all('.tape details').length, all('.tape details[open]').length];
  document.getElementById('driven').textContent = JSON.stringify({...out, errors});
})();</script>)html";

/// What the page about an image in the model shows to a reader; nothing, after a word about it, where there is no
/// browser.
std::optional<json> driven(const std::string& rpe, const std::string& model, json* data = nullptr) {
  const ScratchFolder folder("browser");
  const std::string checkpoint = make_checkpoint(folder, rpe, model), out = folder.file("page.html");
  REQUIRE(run_program({"inspect", "--checkpoint", checkpoint, make_image(folder), "--out", out}).status == 0);
  std::string page = folder.read("page.html");
  if (data) *data = script_data(page, "maps-data");
  page.insert(page.find("<title>"), kBefore);
  page.insert(page.rfind("</body>"), kAfter);
  folder.write("page.html", page);
  const std::string command = "HOME=" + folder.file("") +
                              " timeout 100 chromium --headless --no-sandbox --disable-gpu "
                              "--user-data-dir=" +
                              folder.file("user") + " --dump-dom 'file://" + out + "#q=5&l=1&h=1&t=p' > " +
                              folder.file("dom") + " 2> " + folder.file("err");
  const int status = std::system(command.c_str());
  if (WEXITSTATUS(status) == 127) {  // of `timeout`: there is no such program
    WARN("SKIPPED: no browser");
    return {};
  }
  const std::string dom = folder.read("dom");
  INFO(folder.read("err"));
  REQUIRE(status == 0);
  REQUIRE(dom.find("Made by vitrine inspect") != std::string::npos);
  const size_t from = dom.find("<pre id=\"driven\">") + 17;
  const json shown = json::parse(dom.substr(from, dom.find("</pre>", from) - from), nullptr, false);
  REQUIRE(shown.is_object());  // else the script above did not run to its end
  CHECK(shown["errors"].empty());
  CHECK(shown["open"][0] > 0);
  CHECK(shown["open"][0] == shown["open"][1]);
  return shown;
}

/// The number behind `name` in the text; its minus is the typographic one.
double number_after(const std::string& text, const std::string& name) {
  std::smatch found;
  const std::regex number(name + R"( ((?:−)?)(\d[\d.]*)(e((?:−)?)(\d+))?)");
  INFO(text << ": " << name);
  REQUIRE(std::regex_search(text, found, number));
  const auto plain = [](std::string s) { return s.empty() ? "" : "-"; };
  return std::stod(plain(found[1]) + std::string(found[2]) +
                   (found[3].matched ? "e" + (plain(found[4]) + std::string(found[5])) : ""));
}

}  // namespace

TEST_CASE("inspect: in a browser the page draws its maps and answers to keys, clicks and pointer",
          "[apps][inspect][plain]") {
  json data;
  const std::optional<json> shown = driven("rpe-1.9-product-ctx-1-qk", "deit_micro_patch4_28", &data);
  if (!shown) return;
  CHECK((*shown)["start"][0] == "Query: patch in row 1, column 1 (token 5).");
  CHECK((*shown)["start"][1] == "blocks.1.attn, head 1");
  CHECK_THAT((*shown)["start"][2], Contains("Each map is scaled to its own largest weight"));

  // A map for each layer and head, whose darkest colour is where the weight is largest.
  const json& maps = (*shown)["maps"];
  REQUIRE(maps.size() == kBlocks * kHeads);
  std::set<std::pair<int, int>> places;
  for (const json& map : maps) {
    places.emplace(map["l"], map["h"]);
    const std::vector<double> p = unpacked(data["layers"][size_t(map["l"])]["p"], false);
    const auto row = p.begin() + (int64_t(map["h"]) * kTokens + 5) * kTokens;  // of query 5
    const int64_t largest = std::max_element(row + 1, row + kTokens) - (row + 1);
    for (int64_t i = 0; i < 9; ++i) {
      const bool darkest = map["pixels"][size_t(4 * i)] == 10 && map["pixels"][size_t(4 * i + 2)] == 66;  // #0a2342
      CHECK((darkest == (i == largest) || row[1 + i] > 0.98 * row[1 + largest]));
    }
  }
  CHECK(places.size() == maps.size());

  // To the right by a key; a cell of the table of shares, then a map; the content term; key 3 under the pointer.
  CHECK((*shown)["heat"] == "blocks.3.attn, head 0");
  CHECK((*shown)["end"][0] == "Query: patch in row 1, column 2 (token 6).");
  CHECK((*shown)["end"][1] == "blocks.2.attn, head 1");
  CHECK_THAT((*shown)["end"][2], Contains("One scale for all maps"));
  CHECK((*shown)["hash"] == json({"#q=6", "l=2", "h=1", "t=c"}));
  CHECK((*shown)["figures"] == json({"content term", "relative position term", "attention weights", "buckets"}));
  const std::string readout = (*shown)["readout"];
  CHECK_THAT(readout, Contains("Key: patch in row 0, column 2 (token 3). ") && Contains(", bucket 31."));  // (3+1)7 + 3
  const auto term = [&](const char* name, bool is_signed) {
    return unpacked(data["layers"][2][name], is_signed)[(kTokens + 6) * kTokens + 3];
  };
  const double c = term("c", true), r = term("r", true);
  const auto about = [](double x) { return Approx(x).epsilon(0.006).margin(1e-9); };  // three digits
  CHECK(number_after(readout, "content term") == about(c));
  CHECK(number_after(readout, "relative position term") == about(r));
  CHECK(number_after(readout, "attention weights") == about(100 * term("p", false)));
  CHECK(number_after(readout, "share of the logit") == about(100 * std::abs(r) / (std::abs(c) + std::abs(r))));
}

TEST_CASE("inspect: in a browser, pages with fewer terms or no maps run without an error", "[apps][inspect][plain]") {
  const std::optional<json> plain = driven("none", "deit_micro_patch4_28");
  if (!plain) return;
  CHECK((*plain)["figures"] == json({"content term", "attention weights"}));
  CHECK_THAT((*plain)["readout"], Contains("attention weights") && !Contains("share of the logit"));
  const std::optional<json> windows = driven("rpe-3-product-ctx-1-k-clip", "swin_micro_patch2_window7_28");
  if (windows) CHECK((*windows)["maps"].empty());
}
