#pragma once
#include <string>
#include <vector>

#include "data/image/image.h"

/// Text for the page of `vitrine inspect`. Whatever comes from a file passes through html_text.
namespace vitrine::apps {

/// `text` as the content of an element or of a quoted attribute: markup is escaped, and what is not UTF-8, or a control
/// character, becomes U+FFFD.
std::string html_text(const std::string& text);
/// A JSON document as the content of a script element: no '<' in it ends the element.
std::string script_json(std::string json);
/// data:image/png;base64,...
std::string png_uri(const data::Image& image);

/// A row of cells; `html` is not escaped.
std::string table_row(const std::vector<std::string>& html, const char* cell = "td");
/// A bar of `fraction` of its cell.
std::string bar(double fraction);

std::string time_text(double us);        ///< "12.3 ms"
std::string bytes_text(int64_t bytes);   ///< "1.25 MB"
std::string number_text(double x);       ///< three significant digits
std::string percent_text(double share);  ///< "12.3 %", as HTML

}  // namespace vitrine::apps
