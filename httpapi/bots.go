package httpapi

import (
	"strings"
	"sync"
	"sync/atomic"
)

// botField is the field that says which class of program sent an event, where its User-Agent says that no person did. It is never
// a reason to drop anything.
const botField = "__bot__"

// The classes of programs.
const (
	botSearch   = "search"   // a search engine's crawler
	botAI       = "ai"       // a crawler or fetcher of a language model
	botPreview  = "preview"  // a messenger or network that shows what a link is
	botMonitor  = "monitor"  // a prober of availability or speed
	botHeadless = "headless" // a browser without a window
	botScript   = "script"   // a tool or library of scripts
	botOther    = "other"    // whatever else calls itself a bot, crawler or spider
)

// botNames are parts of User-Agents in lower case, as their makers document them, and the class of each; the first that is there
// counts. Libraries that apps and producers of logs use (okhttp, CFNetwork, Go-http-client) are not among them.
var botNames = []struct{ part, class string }{
	{"gptbot", botAI}, {"chatgpt-user", botAI}, {"oai-searchbot", botAI}, {"claudebot", botAI}, {"claude-user", botAI}, {"claude-searchbot", botAI},
	{"anthropic-ai", botAI}, {"perplexity", botAI}, {"ccbot", botAI}, {"bytespider", botAI}, {"meta-externalagent", botAI},
	{"amazonbot", botAI}, {"cohere-ai", botAI}, {"diffbot", botAI},
	{"googlebot", botSearch}, {"google-inspectiontool", botSearch}, {"googleother", botSearch}, {"adsbot-google", botSearch}, {"mediapartners-google", botSearch},
	{"bingbot", botSearch}, {"bingpreview", botPreview}, {"baiduspider", botSearch}, {"yandexbot", botSearch}, {"yandex.com/bots", botSearch}, {"sogou web spider", botSearch}, {"sogou inst spider", botSearch}, {"sogou pic", botSearch}, {"360spider", botSearch},
	{"haosouspider", botSearch}, {"yisouspider", botSearch}, {"petalbot", botSearch}, {"duckduckbot", botSearch}, {"slurp", botSearch}, {"applebot", botSearch},
	{"yeti/", botSearch}, {"seznambot", botSearch}, {"qwantify", botSearch},
	{"facebookexternalhit", botPreview}, {"twitterbot", botPreview}, {"linkedinbot", botPreview}, {"slackbot", botPreview}, {"telegrambot", botPreview},
	{"whatsapp/", botPreview}, {"discordbot", botPreview}, {"skypeuripreview", botPreview}, {"pinterestbot", botPreview}, {"embedly", botPreview},
	{"uptimerobot", botMonitor}, {"pingdom", botMonitor}, {"statuscake", botMonitor}, {"site24x7", botMonitor}, {"datadogsynthetics", botMonitor},
	{"chrome-lighthouse", botMonitor}, {"gtmetrix", botMonitor}, {"pagespeed", botMonitor}, {"blackbox-exporter", botMonitor}, {"blackbox exporter", botMonitor},
	{"headless", botHeadless}, {"phantomjs", botHeadless}, {"puppeteer", botHeadless}, {"playwright", botHeadless}, {"selenium", botHeadless},
	{"curl/", botScript}, {"wget/", botScript}, {"python-requests", botScript}, {"python-urllib", botScript}, {"aiohttp", botScript}, {"python-httpx", botScript},
	{"scrapy", botScript}, {"libwww-perl", botScript}, {"apache-httpclient", botScript}, {"java/", botScript}, {"node-fetch", botScript}, {"postmanruntime", botScript},
	{"httpie", botScript}, {"grafana k6", botScript}, {"masscan", botScript}, {"zgrab", botScript}, {"nmap", botScript}, {"nikto", botScript}, {"sqlmap", botScript},
	{"bot/", botOther}, {"bot;", botOther}, {"bot)", botOther}, {"-bot", botOther}, {"crawler", botOther}, {"spider", botOther}, {"+http", botOther},
}

// maxUserAgent is how much of a User-Agent is looked at: browsers send less than half of it.
const maxUserAgent = 512

// maxBotCache bounds the User-Agents that are remembered: pages are read with some hundred.
const maxBotCache = 1024

// botCache remembers classes: looking for all the names takes some microseconds. The zero value is empty.
type botCache struct {
	known sync.Map // of User-Agent to class
	size  atomic.Int64
}

// class is the class of the program that a User-Agent names; "" for a browser and for none.
func (c *botCache) class(userAgent string) string {
	if userAgent == "" {
		return ""
	}
	userAgent = userAgent[:min(len(userAgent), maxUserAgent)]
	if class, ok := c.known.Load(userAgent); ok {
		return class.(string)
	}
	class := botClass(userAgent)
	if c.size.Add(1) > maxBotCache { // someone makes them up, or a long time has passed
		c.known.Clear()
		c.size.Store(1)
	}
	c.known.Store(strings.Clone(userAgent), class)
	return class
}

func botClass(userAgent string) string {
	lower := strings.ToLower(userAgent)
	for _, name := range botNames {
		if strings.Contains(lower, name.part) && (name.class != botOther || !strings.Contains(lower, "cubot")) { // a make of telephones
			return name.class
		}
	}
	return ""
}
